"""A source that normally posts and does not: when that means something, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

from processors.incidents.rules import DEFAULT_RULES, SETTLED_MS
from schemas.times import epoch_ms, iso_ms
from tests.unit.incident_rig import HOUR, MINUTE, SECOND, Watch, tally

(SILENCE,) = (rule for rule in DEFAULT_RULES if rule.kind == "silence")
MONDAY_MS = epoch_ms("2026-11-16T00:00:00.000Z")
DAY = 24 * HOUR


def posting(per_hour: Callable[[int], int], hours: int) -> Watch:
    """A source that posts so often in each hour since that Monday, every six minutes."""
    watch = Watch((SILENCE,))
    for hour in range(hours):
        count = per_hour(hour) // 10
        watch.take(tallies=[tally(MONDAY_MS + hour * HOUR + n * 6 * MINUTE, sent=count) for n in range(10) if count])
        watch.at(MONDAY_MS + (hour + 1) * HOUR - 1)
    return watch


def wait(watch: Watch, hours: int) -> None:
    """Nothing comes, and every minute somebody looks."""
    start_ms = watch.watermark_ms
    for minute in range(hours * 60):
        watch.at(start_ms + minute * MINUTE)


def test_half_an_hour_without_what_always_came_is_trouble() -> None:
    watch = posting(lambda _: 100, 48)
    last_ms = MONDAY_MS + 48 * HOUR - 6 * MINUTE
    watch.at(last_ms + 30 * MINUTE + SETTLED_MS - 1)
    before = watch.words()
    watch.at(last_ms + 30 * MINUTE + SETTLED_MS)

    assert (before, watch.words()) == ([], ["opened"])
    assert watch.only()["opened_at"] == iso_ms(last_ms + 30 * MINUTE)
    assert watch.only()["title"] == "No postbacks from braze since 23:54 UTC (about 50 expected by 00:24 UTC)"


def test_what_is_late_within_bounds_is_no_silence() -> None:
    watch = posting(lambda _: 100, 48)
    missed_ms = MONDAY_MS + 48 * HOUR + 24 * MINUTE
    watch.at(missed_ms + SETTLED_MS - 1)
    watch.take(tallies=[tally(missed_ms - 1, sent=1)])
    watch.at(missed_ms + 10 * MINUTE)

    assert watch.words() == []


def test_few_must_be_missed_for_longer() -> None:
    watch = posting(lambda _: 10, 48)
    last_ms = MONDAY_MS + 48 * HOUR - 6 * MINUTE
    watch.at(last_ms + HOUR)
    watch.at(last_ms + 2 * HOUR + SETTLED_MS - 1)
    before = watch.words()
    watch.at(last_ms + 2 * HOUR + SETTLED_MS)

    assert before == []
    assert watch.only()["opened_at"] == iso_ms(last_ms + 2 * HOUR)
    assert watch.only()["total"] == 20


def test_it_is_over_with_the_next_postback() -> None:
    watch = posting(lambda _: 100, 48)
    wait(watch, 2)
    back_ms = watch.watermark_ms + 5 * SECOND
    watch.take(tallies=[tally(back_ms - back_ms % 10_000, sent=1)])

    assert watch.words() == ["opened", "resolved"]
    assert watch.only()["state"] == "resolved"


def test_a_silence_found_afterwards_is_told_whole() -> None:
    watch = posting(lambda _: 100, 48)
    watch.take(tallies=[tally(MONDAY_MS + 51 * HOUR, sent=1)])

    assert watch.words() == ["opened", "resolved"]
    assert watch.only()["last_seen"] == iso_ms(MONDAY_MS + 51 * HOUR)


def test_a_quiet_night_is_none_once_there_was_one() -> None:
    watch = posting(lambda hour: 100 if 8 <= hour % 24 < 20 else 0, 8 * 24)

    assert all(change["at"] < iso_ms(MONDAY_MS + 2 * DAY) for change in watch.changes.values())


def test_a_quiet_weekend_is_none_once_there_was_one() -> None:
    watch = posting(lambda hour: 0 if (hour // 24) % 7 >= 5 else 100, 5 * 24)
    for hour in range(5 * 24, 21 * 24):
        if (hour // 24) % 7 < 5:
            watch.take(tallies=[tally(MONDAY_MS + hour * HOUR + n * 6 * MINUTE, sent=10) for n in range(10)])
        else:
            watch.at(MONDAY_MS + hour * HOUR)

    first_weekend = [change["at"] for change in watch.changes.values() if change["change"] != "updated"]
    assert all(at < iso_ms(MONDAY_MS + 8 * DAY) for at in first_weekend)


def test_one_large_send_is_not_expected_again() -> None:
    watch = posting(lambda hour: 5_000 if hour == 30 else 10, 7 * 24 + 30)
    watch.at(MONDAY_MS + (7 * 24 + 31) * HOUR)

    assert watch.words() == []


def test_a_source_that_was_only_tried_out_is_not_missed() -> None:
    watch = posting(lambda hour: 500 if hour in (0, 1) else 0, 3 * 24)

    assert watch.words() == []


def test_resolved_by_hand_it_is_not_told_again_until_something_came() -> None:
    watch = posting(lambda _: 100, 48)
    wait(watch, 2)
    watch.store.close(watch.only()["incident_id"], watch.watermark_ms)
    wait(watch, 10)
    closed = watch.words()
    watch.take(tallies=[tally(watch.watermark_ms + MINUTE, sent=1)])
    wait(watch, 2)

    assert closed == ["opened", "resolved"]
    assert watch.words() == ["opened", "resolved", "reopened"]


def test_a_source_that_is_gone_is_forgotten_unless_its_incident_is_open() -> None:
    few = posting(lambda hour: 10 if hour < 5 else 0, 10 * 24)
    missed = posting(lambda hour: 100 if hour < 48 else 0, 20 * 24)

    assert few.store.states == {}
    assert missed.only()["state"] == "open"
    assert max(len(state.state) for state in missed.store.states.values()) < 3_000
