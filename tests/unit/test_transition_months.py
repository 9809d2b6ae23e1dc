"""Which partitions of `transitions` there are to be, by their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.tables.transition_months import Partition, expired, missing, month_of, partition_of, start_of

AUGUST = 2020 * 12 + 7

months = st.integers(2000 * 12, 2100 * 12 - 1)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("transitions_2020_08", Partition("transitions_2020_08", AUGUST, AUGUST + 1)),
        ("transitions_until_2020_08", Partition("transitions_until_2020_08", None, AUGUST)),
        ("transitions_2020_08_copy", None),
        ("transitions", None),
    ],
)
def test_a_name_says_what_a_partition_holds(name: str, found: Partition | None) -> None:
    assert partition_of(name) == found


@pytest.mark.parametrize(
    "time", ["1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00.000Z", "2020-13-01", "today", "", None, 7]
)
def test_what_is_no_time_to_be_expected_is_no_month(time: object) -> None:
    assert month_of(time) is None


def test_a_month_is_that_of_the_time() -> None:
    assert month_of("2020-08-31T18:58:42.000Z") == AUGUST


@given(month=months)
def test_a_month_starts_in_itself(month: int) -> None:
    assert month_of(start_of(month)) == month


@given(wanted=st.lists(st.one_of(st.none(), months)), there=st.lists(months))
def test_only_what_is_not_there_is_missing_and_each_once(wanted: list[int | None], there: list[int]) -> None:
    found = missing(wanted, [f"transitions_{start_of(month)[:7].replace('-', '_')}" for month in there])

    assert found == sorted({month for month in wanted if month is not None} - set(there))


def test_months_before_there_were_partitions_are_in_the_one_of_them_all() -> None:
    names = ["transitions_until_2020_08", "transitions_2020_08"]

    assert missing([AUGUST - 100, AUGUST - 1, AUGUST, AUGUST + 1], names) == [AUGUST + 1]


def test_a_partition_goes_when_its_last_row_is_old_enough() -> None:
    names = ["transitions_2020_09", "transitions_2020_08", "transitions_until_2020_08", "somebody_elses"]

    assert expired(names, "2020-08-31T23:59:59.999Z") == ["transitions_until_2020_08"]
    assert expired(names, "2020-09-01T00:00:00.000Z") == ["transitions_until_2020_08", "transitions_2020_08"]
    assert expired(names, "1999-01-01T00:00:00.000Z") == []
