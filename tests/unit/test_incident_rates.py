"""Rules that hold one count against another, over a window that slides."""

from __future__ import annotations

import pytest

from processors.incidents.rules import DEFAULT_RULES, LATENESS_MS, IncidentRule
from schemas.times import iso_ms
from tests.unit.incident_rig import HOUR, MINUTE, NOON_MS, SECOND, Watch, failure, tally, told

(BOUNCES,) = (rule for rule in DEFAULT_RULES if rule.name == "bounce_rate")
(COMPLAINTS,) = (rule for rule in DEFAULT_RULES if rule.name == "complaint_rate")
(DEAD,) = (rule for rule in DEFAULT_RULES if rule.name == "dead_letters")


def judged(rule: IncidentRule, **counts: int) -> Watch:
    watch = Watch((rule,))
    watch.take(tallies=[tally(NOON_MS, counts)])
    watch.at(NOON_MS + HOUR // 2)
    return watch


@pytest.mark.parametrize(
    ("delivered", "bounced", "opens"), [(48, 2, True), (49, 1, False), (47, 2, False), (98, 2, False), (0, 50, True)]
)
def test_the_rate_is_over_and_the_total_is_enough_or_it_is_no_trouble(
    delivered: int, bounced: int, *, opens: bool
) -> None:
    assert bool(judged(BOUNCES, delivered=delivered, bounced=bounced).rows) is opens


def test_a_message_that_came_to_two_ends_is_one_final() -> None:
    watch = Watch((BOUNCES,))
    watch.take(tallies=[tally(NOON_MS, delivered=48, bounced=2, reversed_=1)])
    watch.at(NOON_MS + HOUR // 2)

    assert watch.rows == {}


def test_the_title_says_what_how_many_and_where() -> None:
    watch = judged(BOUNCES, delivered=469, bounced=31)

    assert watch.only()["title"] == "Bounces 6.2 % of campaign welcome (31 of 500 in 60 min), braze"


def test_a_rate_is_judged_when_its_step_is_over_and_nothing_can_be_missing() -> None:
    watch = Watch((BOUNCES,))
    watch.take(tallies=[tally(NOON_MS, bounced=50)])
    step_ms = BOUNCES.bucket_ms
    watch.at(NOON_MS + step_ms + LATENESS_MS - 1)
    before = dict(watch.rows)
    watch.at(NOON_MS + step_ms + LATENESS_MS)

    assert (step_ms, before) == (20 * SECOND, {})
    assert watch.words() == ["opened"]


def test_what_is_late_within_bounds_is_judged_with_its_time() -> None:
    watch = Watch((BOUNCES,))
    watch.take(tallies=[tally(NOON_MS, bounced=50)])
    watch.at(NOON_MS + 20 * SECOND + LATENESS_MS - 1)
    watch.take(tallies=[tally(NOON_MS + 20 * SECOND - 1, delivered=10_000)])
    watch.at(NOON_MS + HOUR)

    assert watch.rows == {}


def test_what_is_later_is_counted_and_changes_no_judgement() -> None:
    watch = Watch((BOUNCES,))
    watch.take(tallies=[tally(NOON_MS, bounced=50)])
    watch.at(NOON_MS + MINUTE)
    watch.take(tallies=[tally(NOON_MS + SECOND, delivered=10_000, bounced=1)])
    watch.at(NOON_MS + 3 * HOUR)

    assert watch.words() == ["opened", "resolved"]
    assert (watch.only()["count"], watch.only()["total"]) == (51, 10_051)


def test_what_matched_between_two_windows_that_were_too_much_counts() -> None:
    watch = Watch((BOUNCES._replace(window_s=60, quiet_s=600),))
    for minute, delivered, bounced in ((0, 0, 50), (2, 99, 1), (4, 0, 50)):
        watch.take(tallies=[tally(NOON_MS + minute * MINUTE, delivered=delivered, bounced=bounced)])
    watch.at(NOON_MS + 6 * MINUTE)

    assert (watch.only()["count"], watch.only()["total"]) == (101, 200)


def test_a_new_spell_does_not_count_what_was_of_the_last() -> None:
    watch = Watch((BOUNCES._replace(quiet_s=300),))
    for minute in (0, 10):
        watch.take(tallies=[tally(NOON_MS + minute * MINUTE, bounced=50)])
    watch.at(NOON_MS + 12 * MINUTE)

    assert watch.words() == ["opened", "resolved", "reopened"]
    assert watch.only()["count"] == 50


def test_all_that_matched_from_the_first_of_the_window_on_is_counted() -> None:
    watch = Watch((BOUNCES,))
    for minute in range(30):
        watch.take(tallies=[tally(NOON_MS + minute * MINUTE, delivered=99, bounced=1)])
    watch.take(tallies=[tally(NOON_MS + 30 * MINUTE, delivered=10, bounced=90)])
    watch.take(tallies=[tally(NOON_MS + 40 * MINUTE, delivered=100, bounced=1)])
    watch.at(NOON_MS + HOUR)

    assert (watch.only()["count"], watch.only()["total"]) == (121, 3201)
    assert watch.only()["first_seen"] == iso_ms(NOON_MS)


def test_it_ends_although_some_go_on_bouncing() -> None:
    watch = Watch((BOUNCES,))
    watch.take(tallies=[tally(NOON_MS, delivered=10, bounced=90)])
    for minute in range(1, 240):
        watch.take(tallies=[tally(NOON_MS + minute * MINUTE, delivered=999, bounced=int(minute % 2 == 0))])

    assert watch.words() == ["opened", "resolved"]


def test_failures_are_the_samples_and_say_what_to_do() -> None:
    watch = Watch((BOUNCES,))
    for second in range(0, 600, 20):
        at_ms = NOON_MS + second * SECOND
        watch.take([failure(at_ms, number=n) for n in range(5)], [tally(at_ms, delivered=5, bounced=5)])

    assert len(watch.only()["samples"]) == 10
    assert watch.only()["samples"][0]["reason"] == "550 5.1.1 no such user"
    assert watch.only()["advice"].startswith("Mostly unknown_recipient: The receiver has no such mailbox. Stop mailing")


def test_state_of_a_busy_campaign_is_small() -> None:
    watch = Watch((BOUNCES, COMPLAINTS))
    for step in range(400):
        at_ms = NOON_MS + step * 20 * SECOND
        counts = {"delivered": 12_345, "bounced": 1_234, "complained": 123}
        watch.take([failure(at_ms, number=n, reason="5" * 120) for n in range(20)], [tally(at_ms, counts)])

    assert max(len(state.state) for state in watch.store.states.values()) < 5_000
    assert len(watch.store.states) == 2


def test_complaints_are_held_against_what_was_delivered_in_a_day() -> None:
    watch = Watch((COMPLAINTS,))
    for hour in range(10):
        sample = told("complained", NOON_MS + hour * HOUR, "complaint")
        watch.take(tallies=[tally(NOON_MS + hour * HOUR, delivered=200, complained=1, samples=[sample])])
    watch.at(NOON_MS + 10 * HOUR)

    assert watch.only()["title"] == "Complaints 0.5 % of campaign welcome (10 of 2,000 in 24 h), braze"
    assert watch.only()["first_seen"] == iso_ms(NOON_MS)


def test_dead_letters_are_held_against_the_postbacks_of_their_source() -> None:
    watch = Watch((DEAD,))
    watch.take(tallies=[tally(NOON_MS, campaign_id="a", delivered=500)])
    letter = told("invalid_json", NOON_MS, "not JSON at byte 3", message_id=None)
    watch.take(tallies=[tally(NOON_MS, campaign_id=None, dead={"invalid_json": 12}, samples=[letter])])
    watch.at(NOON_MS + MINUTE)

    assert watch.only()["title"] == "Dead letters 2.3 % of postbacks (12 of 512 in 60 min), braze"
    assert [sample["reason"] for sample in watch.only()["samples"]] == ["invalid_json: not JSON at byte 3"]


def test_nine_dead_letters_are_none() -> None:
    watch = Watch((DEAD,))
    watch.take(tallies=[tally(NOON_MS, dead={"invalid_json": 9})])
    watch.at(NOON_MS + MINUTE)

    assert watch.rows == {}


def test_resolved_by_hand_what_was_before_is_in_no_window_any_more() -> None:
    watch = judged(BOUNCES, delivered=10, bounced=90)
    closed_ms = watch.watermark_ms
    watch.store.close(watch.only()["incident_id"], closed_ms)
    watch.take(tallies=[tally(closed_ms + MINUTE, delivered=60)])
    watch.at(closed_ms + 5 * MINUTE)
    quiet = watch.words()
    watch.take(tallies=[tally(closed_ms + 6 * MINUTE, bounced=60)])
    watch.at(closed_ms + 10 * MINUTE)

    assert (quiet, watch.words()) == (["opened", "resolved"], ["opened", "resolved", "reopened"])
    assert watch.only()["count"] == 60


def test_a_rate_of_a_class_takes_failures_one_by_one() -> None:
    watch = Watch((BOUNCES._replace(match=("policy",)),))
    for minute in range(10):
        at_ms = NOON_MS + minute * MINUTE
        watch.take([failure(at_ms, bounce_class="policy"), failure(at_ms)], [tally(at_ms, delivered=6, bounced=2)])
    watch.at(NOON_MS + HOUR)

    assert (watch.only()["count"], watch.only()["total"]) == (10, 80)
