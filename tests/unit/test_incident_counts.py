"""Rules that count: when an incident opens, grows, ends and comes back, and what it says."""

from __future__ import annotations

import pytest

from processors.incidents.group_state import MOST_SPELLS
from processors.incidents.rules import SETTLED_MS, IncidentRule
from schemas.codec import check
from schemas.incidents import Incident, IncidentChange
from schemas.times import iso_ms
from tests.unit.incident_rig import HOUR, MINUTE, NOON_MS, SECOND, Watch, failure, tally, told

BOUNCES = IncidentRule("bounces", "count", ("bounced",), group_by=("campaign_id",), severity="warning")
THREE = BOUNCES._replace(name="three", at_least=3, window_s=600, quiet_s=600)


def test_one_match_opens_and_a_quiet_hour_ends_it() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS)])
    watch.take([failure(NOON_MS + MINUTE)])
    watch.at(NOON_MS + MINUTE + HOUR + SETTLED_MS - 1)
    still = watch.only()["state"]
    watch.at(NOON_MS + MINUTE + HOUR + SETTLED_MS)

    assert (still, watch.only()["state"]) == ("open", "resolved")
    assert watch.words() == ["opened", "resolved"]
    assert watch.only()["resolved_at"] == iso_ms(NOON_MS + MINUTE + HOUR)


def test_every_record_is_as_the_schema_says() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS, number=number) for number in range(30)])

    assert [check(Incident, row) for row in watch.rows.values()] == list(watch.rows.values())
    assert [check(IncidentChange, change) for change in watch.changes.values()] == list(watch.changes.values())


def test_a_window_that_holds_too_few_is_no_trouble() -> None:
    watch = Watch((THREE,))
    for minutes in (0, 9, 18, 27):
        watch.take([failure(NOON_MS + minutes * MINUTE)])

    assert watch.rows == {}


def test_all_of_the_spell_counts_once_a_window_holds_enough() -> None:
    watch = Watch((THREE,))
    for minutes in (0, 9, 18, 20, 22):
        watch.take([failure(NOON_MS + minutes * MINUTE)])

    assert watch.only()["count"] == 5
    assert watch.only()["first_seen"] == iso_ms(NOON_MS)
    assert watch.only()["opened_at"] == iso_ms(NOON_MS + 22 * MINUTE)


@pytest.mark.parametrize(("last_ms", "opens"), [(10 * MINUTE - 1, True), (10 * MINUTE, False)])
def test_a_window_is_as_long_as_it_says(last_ms: int, *, opens: bool) -> None:
    watch = Watch((THREE,))
    watch.take([failure(NOON_MS + at_ms) for at_ms in (0, 5 * MINUTE, last_ms)])

    assert bool(watch.rows) is opens


def test_a_late_record_that_joins_two_spells_makes_them_one() -> None:
    watch = Watch((THREE,))
    watch.take([failure(NOON_MS + seconds * SECOND) for seconds in (0, 1, 1_100, 1_101, 1_102)])
    watch.take([failure(NOON_MS + 550 * SECOND)])

    assert (watch.only()["count"], watch.only()["first_seen"]) == (6, iso_ms(NOON_MS))
    assert watch.only()["opened_at"] == iso_ms(NOON_MS + 550 * SECOND)


def test_it_escalates_at_each_tenfold_and_says_so_once() -> None:
    watch = Watch((BOUNCES,))
    severities = []
    for number in range(1001):
        watch.take([failure(NOON_MS + number, number=number)])
        severities.append(watch.only()["severity"])

    assert watch.words() == ["opened", "escalated", "escalated"]
    assert [severities.index(word) + 1 for word in ("warning", "error", "critical")] == [1, 100, 1000]


def test_it_comes_back_as_the_same_incident_of_a_new_spell() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS), failure(NOON_MS + SECOND)])
    watch.take([failure(NOON_MS + 3 * HOUR)])
    watch.at(NOON_MS + 5 * HOUR)

    assert watch.words() == ["opened", "resolved", "reopened", "resolved"]
    assert (watch.only()["count"], watch.only()["first_seen"]) == (1, iso_ms(NOON_MS + 3 * HOUR))


def test_it_comes_back_as_such_after_months_too() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS)])
    for day in range(1, 90):
        watch.at(NOON_MS + day * 24 * HOUR)
    (remembered,) = watch.store.states.values()
    watch.take([failure(NOON_MS + 90 * 24 * HOUR)])

    assert watch.words() == ["opened", "resolved", "reopened"]
    assert len(remembered.state) < 250
    assert remembered.due_ms is None


def test_what_was_no_incident_is_forgotten() -> None:
    watch = Watch((THREE,))
    watch.take([failure(NOON_MS)])
    for hours in range(30):
        watch.at(NOON_MS + hours * HOUR)

    assert watch.store.states == {}


def test_resolved_by_hand_it_is_over_and_later_trouble_opens_it_again() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS), failure(NOON_MS + MINUTE)])
    watch.store.close(watch.only()["incident_id"], NOON_MS + 2 * MINUTE)
    watch.at(NOON_MS + 2 * MINUTE + SECOND)
    closed = watch.only()
    watch.take([failure(NOON_MS + 90 * SECOND), failure(NOON_MS + 3 * MINUTE)])

    assert (closed["state"], closed["count"], closed["resolved_at"]) == ("resolved", 2, iso_ms(NOON_MS + 2 * MINUTE))
    assert watch.words() == ["opened", "resolved", "reopened"]
    assert (watch.only()["count"], watch.only()["first_seen"]) == (1, iso_ms(NOON_MS + 3 * MINUTE))


def test_updates_are_a_minute_apart() -> None:
    watch = Watch((BOUNCES,))
    for seconds in range(0, 300, 5):
        watch.take([failure(NOON_MS + seconds * SECOND)])

    assert [c["at"] for c in watch.changes.values() if c["change"] == "updated"] == [
        iso_ms(NOON_MS + minute * MINUTE) for minute in range(1, 5)
    ]


def test_samples_are_the_first_ten_with_the_providers_words() -> None:
    watch = Watch((BOUNCES,))
    for number in reversed(range(25)):
        watch.take([failure(NOON_MS + number, reason=f"550 {number} " + "x" * 500)])

    samples = watch.only()["samples"]
    assert [sample["received_at"] for sample in samples] == [iso_ms(NOON_MS + number) for number in range(10)]
    assert all((sample["reason"] or "").startswith("550 ") and len(sample["reason"] or "") == 200 for sample in samples)


def test_state_is_small_however_many_spells_there_were() -> None:
    watch = Watch((BOUNCES,))
    for hours in range(0, 100, 2):
        watch.take([failure(NOON_MS + hours * HOUR, number=number) for number in range(20)])

    assert watch.words() == ["opened", *["resolved", "reopened"] * 49]
    assert max(len(state.state) for state in watch.store.states.values()) < MOST_SPELLS * 1800


def test_groups_are_apart() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS, campaign_id=name, source=source) for name in ("a", "b") for source in ("x", "y")])
    watch.take([failure(NOON_MS, campaign_id=None)])

    assert len(watch.rows) == 5


def test_tallies_count_for_what_no_failure_is() -> None:
    watch = Watch((IncidentRule("new_words", "count", ("unknown",)),))
    watch.take(tallies=[tally(NOON_MS, unknown=4, samples=[told("unknown", NOON_MS + 3, "paused")], postbacks=90)])

    assert watch.only()["title"] == "4 unknown statuses (paused), braze"
    assert [sample["reason"] for sample in watch.only()["samples"]] == ["paused"]


@pytest.mark.parametrize(
    ("match", "status", "bounce_class", "counts"),
    [
        (("failures",), "expired", None, True),
        (("aborted",), "aborted", "abort_liquid", True),
        (("aborted",), "bounced", "policy", False),
        (("policy",), "bounced", "policy", True),
        (("policy", "aborted"), "rejected", "routing", False),
    ],
)
def test_a_failure_matches_by_status_or_class(
    match: tuple[str, ...], status: str, bounce_class: str | None, *, counts: bool
) -> None:
    watch = Watch((IncidentRule("x", "count", match),))
    watch.take([failure(NOON_MS, status=status, bounce_class=bounce_class)])

    assert bool(watch.rows) is counts


def test_a_rule_that_is_gone_leaves_no_incident_open() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS)])
    later = Watch((THREE,), watch.store, watch.rows, watch.changes)
    later.at(NOON_MS + 2 * HOUR)

    assert later.only()["state"] == "resolved"
    assert [state.due_ms for state in later.store.states.values()] == [None]


def test_a_rule_that_was_switched_off_for_a_while_goes_on() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS)])
    off = Watch((THREE,), watch.store, watch.rows, watch.changes)
    off.at(NOON_MS + 2 * HOUR)
    on = Watch((BOUNCES,), watch.store, watch.rows, watch.changes)
    on.take([failure(NOON_MS + 3 * HOUR)])

    assert on.words() == ["opened", "resolved", "reopened"]


def test_a_rule_that_is_of_another_kind_begins_anew() -> None:
    watch = Watch((BOUNCES,))
    watch.take([failure(NOON_MS)])
    other = BOUNCES._replace(kind="rate", of="finals", at_least=1, above_ppm=1)
    later = Watch((other,), watch.store, watch.rows, watch.changes)
    later.take([failure(NOON_MS + MINUTE)], [tally(NOON_MS + MINUTE, bounced=1)])
    later.at(NOON_MS + 3 * MINUTE)

    assert later.words() == ["opened", "resolved", "reopened"]
    assert later.only()["kind"] == "rate"
