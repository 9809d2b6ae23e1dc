"""What a report makes of its rows: totals, rates, steps, and reasons that are one."""

from __future__ import annotations

import pytest

from sendtrace.report.figures import Totals
from sendtrace.report.told import (
    Change,
    Tone,
    change_of_count,
    change_of_rate,
    change_of_time,
    nothing,
    percent,
    span,
)
from sinks.tables.report_rows import Period
from tests.unit.report_examples import NOTHING, PERIOD, ROWS, example, volume


def test_totals_add_up_and_rates_are_of_those_with_an_outcome() -> None:
    report = example()

    assert report.now == Totals(
        messages=213,
        pending=10,
        delivered=178,
        failed=25,
        bounced=20,
        aborted=5,
        delivery_rate=178 / 203,
        bounce_rate=20 / 203,
        abort_rate=5 / 203,
        failure_rate=25 / 203,
    )
    assert (report.previous.messages, report.previous.bounce_rate) == (100, 0.05)


def test_slices_are_every_source_and_channel_the_largest_first() -> None:
    found = [(one.channel, one.now.messages, one.before.messages) for one in example().slices]

    assert found == [("email", 210, 100), (None, 3, 0)]


def test_steps_are_hours_of_which_the_first_and_last_are_cut() -> None:
    steps = {one.start: (one.now.messages, one.before.messages) for one in example().steps}

    assert len(steps) == 25
    assert steps["2020-08-31T10:30:00.000Z"] == (5, 0)
    assert steps["2020-08-31T23:00:00.000Z"] == (190, 100)
    assert steps["2020-09-01T10:00:00.000Z"] == (15, 0)
    assert sum(now for now, _ in steps.values()) == 213


@pytest.mark.parametrize(
    ("days", "step_seconds", "steps"), [(1, 3_600, 24), (7, 21_600, 28), (30, 86_400, 30), (365, 604_800, 53)]
)
def test_a_longer_period_has_longer_steps(days: int, step_seconds: int, steps: int) -> None:
    period = {
        1: Period("2020-08-30T00:00:00.000Z", "2020-08-31T00:00:00.000Z", "2020-09-01T00:00:00.000Z"),
        7: Period("2020-08-18T00:00:00.000Z", "2020-08-25T00:00:00.000Z", "2020-09-01T00:00:00.000Z"),
        30: Period("2020-07-03T00:00:00.000Z", "2020-08-02T00:00:00.000Z", "2020-09-01T00:00:00.000Z"),
        365: Period("2018-09-02T00:00:00.000Z", "2019-09-02T00:00:00.000Z", "2020-09-01T00:00:00.000Z"),
    }[days]

    report = example(NOTHING._replace(volumes=[volume("31T23", "sent", 3)]), period=period)

    assert report.step_seconds == step_seconds
    assert abs(len(report.steps) - steps) <= 1
    assert sum(one.now.messages for one in report.steps) == 3


def test_texts_that_differ_in_addresses_and_ids_are_one_reason_without_the_address() -> None:
    first, second = example().failures

    assert (first.now, first.before, first.example_message_id) == (20, 5, "m11")
    assert first.reason == "550 5.1.1 <…> unknown, id 00112233445566778"
    assert (second.bounce_class, second.reason, second.now) == ("abort_other", None, 5)


def test_a_class_says_what_to_do_where_the_catalogue_knows_it() -> None:
    known, unknown = example().failure_classes

    assert known.advice == "Stop mailing the address."
    assert (unknown.bounce_class, unknown.advice) == ("abort_other", None)


def test_a_dead_letter_of_a_reason_nobody_knows_is_shown_without_advice() -> None:
    assert [(one.reason, one.advice is None) for one in example().dead] == [
        ("invalid_json", False),
        ("of_a_newer_release", True),
    ]


def test_an_empty_period_says_so_and_where_there_is_something() -> None:
    empty = example(NOTHING)
    older = example(NOTHING._replace(last_message="2020-08-01T00:00:00.000Z"))

    assert (empty.is_empty, example().is_empty) == (True, False)
    assert nothing(empty).endswith("2020-09-01 10:30 UTC; there are no messages yet")
    assert nothing(older).endswith("the newest message is of 2020-08-01 00:00, a longer --since shows it")


def test_dead_letters_alone_are_something() -> None:
    assert not example(NOTHING._replace(dead=ROWS.dead)).is_empty


@pytest.mark.parametrize(
    ("now", "before", "change"),
    [
        (110, 100, Change("▲ 10 %", Tone.BAD)),
        (99, 100, Change("▼ 1.0 %", Tone.GOOD)),
        (100, 100, Change("=", Tone.SAME)),
        (0, 0, Change("", Tone.SAME)),
        (5, 0, Change("new", Tone.BAD)),
        (9, 3, Change("was 3", Tone.BAD)),
        (0, 20, Change("▼ 100 %", Tone.GOOD)),
        (500, 20, Change("▲ 25-fold", Tone.BAD)),
    ],
)
def test_a_count_is_told_beside_the_one_before(now: int, before: int, change: Change) -> None:
    assert change_of_count(now, before, more_is=Tone.BAD) == change


@pytest.mark.parametrize(
    ("now", "before", "change"),
    [
        (0.96, 0.97, Change("▼ 1.0 pp", Tone.BAD)),
        (0.021, 0.02, Change("▲ 0.10 pp", Tone.GOOD)),
        (0.5, 0.5, Change("=", Tone.SAME)),
        (None, 0.5, Change("", Tone.SAME)),
        (0.5, None, Change("", Tone.SAME)),
    ],
)
def test_a_rate_is_told_in_points(now: float | None, before: float | None, change: Change) -> None:
    assert change_of_rate(now, before, more_is=Tone.GOOD) == change


def test_longer_is_worse() -> None:
    assert change_of_time(60.0, 30.0) == Change("▲ 30 s", Tone.BAD)
    assert change_of_time(1.0, 1.0004) == Change("=", Tone.SAME)
    assert change_of_time(None, 1.0) == Change("", Tone.SAME)


def test_small_rates_have_their_hundredths() -> None:
    assert [percent(rate) for rate in (None, 0.0, 0.0042, 0.0999, 0.1, 1.0)] == [
        *("–", "0 %", "0.42 %", "9.99 %", "10.0 %", "100.0 %")
    ]


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("2020-08-31T10:30:00.000Z", "24 hours"),
        ("2020-08-25T10:30:00.000Z", "7 days"),
        ("2020-09-01T09:30:00.000Z", "1 hour"),
        ("2020-09-01T09:00:00.000Z", "1.5 h"),
    ],
)
def test_a_period_has_a_name(since: str, told: str) -> None:
    assert span(example(NOTHING, period=PERIOD._replace(since=since))) == told
