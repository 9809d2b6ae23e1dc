"""A provider's timestamp in any ISO 8601 form, and what is odd about broken ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.provider_times import FUTURE_MAX_MS, read_time
from schemas.times import epoch_ms, iso_ms

NOW_MS = epoch_ms("2020-09-01T00:00:00.000Z")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2020-08-31T18:58:41.000+00:00", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T18:58:41Z", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31t18:58:41.5z", "2020-08-31T18:58:41.500Z"),
        ("2020-08-31 18:58:41+00:00", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T20:58:41.000+02:00", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T13:58:41.000-05", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T13:58:41.000\N{MINUS SIGN}0500", "2020-08-31T18:58:41.000Z"),
        ("2020-09-01T00:28:41.000+05:30", "2020-08-31T18:58:41.000Z"),
        ("20200831T185841Z", "2020-08-31T18:58:41.000Z"),
        ("20200831T185841,123Z", "2020-08-31T18:58:41.123Z"),
        ("2020-08-31T18:58:41.123456789012345Z", "2020-08-31T18:58:41.123Z"),
        ("2020-08-31T18:58:41.999999+00:00", "2020-08-31T18:58:41.999Z"),
        ("2020-W36-1T18:58:41Z", "2020-08-31T18:58:41.000Z"),
        ("2020-W36-1T18:58:41.000+00:00", "2020-08-31T18:58:41.000Z"),
        ("2019-W36-1T18:58:41.000+00:00", "2019-09-02T18:58:41.000Z"),
        ("2020-08-31 18:58:41.000+00:00", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T18:58:41,000+00:00", "2020-08-31T18:58:41.000Z"),
        ("2020W361T185841Z", "2020-08-31T18:58:41.000Z"),
        ("2020-244T18:58:41Z", "2020-08-31T18:58:41.000Z"),
        ("2020244T185841Z", "2020-08-31T18:58:41.000Z"),
        ("2020-08-31T18:58Z", "2020-08-31T18:58:00.000Z"),
        ("2020-08-31T18:58.5Z", "2020-08-31T18:58:30.000Z"),
        ("2020-08-31T18,5Z", "2020-08-31T18:30:00.000Z"),
        ("2020-08-31T24:00:00Z", "2020-09-01T00:00:00.000Z"),
        (" 2020-08-31T18:58:41Z ", "2020-08-31T18:58:41.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_every_iso_form_is_read(said: str, meant: str) -> None:
    assert read_time(said, NOW_MS) == (meant, ())


@pytest.mark.parametrize(
    "said",
    [
        "yesterday",
        "2020-08-31",
        "2020-08-31T18:58:41. 00+00:00",  # the old French page, facts/providers.md §1.3
        "2022-01-001T00:00:00.000Z",  # the sample answer of seed 004
        "2020-02-30T00:00:00Z",
        "2020-02-30T00:00:00.000+00:00",
        "2020-366-1T00:00:00Z",
        "2019-366T00:00:00Z",
        "2020-000T00:00:00Z",
        "2020-W54-1T00:00:00Z",
        "2020-08-31T25:00:00Z",
        "2020-08-31T24:00:01Z",
        "2020-08-31T18:60:00Z",
        "2020-08-31T18:58:61Z",
        "2020-08-31T18:58:41+24:00",
        "2020-08-31T18:58:41+01:60",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1598900321",
        "\N{ARABIC-INDIC DIGIT TWO}020-08-31T18:58:41Z",
        "2020-08-31T18:58:41Z\0",
        1598900321,
        1598900321.5,
        True,
        ["2020-08-31T18:58:41Z"],
        {},
    ],
)
def test_what_is_no_time_is_unreadable(said: object) -> None:
    assert read_time(said, NOW_MS) == (None, ("unreadable",))


@pytest.mark.parametrize("said", [None, ""])
def test_no_time_is_not_odd(said: object) -> None:
    assert read_time(said, NOW_MS) == (None, ())


def test_a_time_without_zone_is_utc_and_flagged() -> None:
    assert read_time("2020-08-31T18:58:41.250", NOW_MS) == ("2020-08-31T18:58:41.250Z", ("without_zone",))


@pytest.mark.parametrize("said", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.000+00:00"])
def test_a_leap_second_becomes_the_next_second_and_is_flagged(said: str) -> None:
    assert read_time(said, NOW_MS) == ("2017-01-01T00:00:00.000Z", ("leap_second",))


@pytest.mark.parametrize("zone", ["Z", "+00:00"])
@pytest.mark.parametrize("received_ms", [NOW_MS, NOW_MS + 12_345_678, NOW_MS + 86_399_999])
def test_a_day_ahead_of_the_receipt_is_still_a_clock_and_one_more_millisecond_is_not(
    zone: str, received_ms: int
) -> None:
    limit, past_it = (iso_ms(received_ms + FUTURE_MAX_MS + more) for more in (0, 1))

    assert read_time(limit[:-1] + zone, received_ms) == (limit, ())
    assert read_time(past_it[:-1] + zone, received_ms) == (past_it, ("in_future",))


def test_everything_odd_about_one_time_is_said() -> None:
    assert read_time("2021-12-31T23:59:60", NOW_MS) == (
        "2022-01-01T00:00:00.000Z",
        ("without_zone", "leap_second", "in_future"),
    )


@given(st.datetimes(timezones=st.timezones()), st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_whatever_python_writes_is_read_as_the_same_moment(at: datetime, precision: str) -> None:
    try:
        expected = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    except OverflowError:
        return
    if at.utcoffset() is None or at.utcoffset().seconds % 60:  # type: ignore[union-attr] # narrowed by the first half
        return
    found, _ = read_time(at.isoformat(timespec=precision), NOW_MS)

    assert found is not None
    assert found[:19] == expected[:19]
    assert precision == "seconds" or found == expected


@given(st.text(alphabet="0123456789-+:.,TWZtz \0", max_size=40) | st.text(max_size=40))
def test_any_text_is_a_time_of_ours_or_unreadable(said: str) -> None:
    found, odd = read_time(said, NOW_MS)

    assert (found is None) == (odd == ("unreadable",) or said == "")
    assert found is None or iso_ms(epoch_ms(found)) == found
