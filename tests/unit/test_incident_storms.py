"""Very many of everything: counts stay exact, incidents one, state and each call bounded."""

from __future__ import annotations

from processors.incidents.domain_names import MOST_DOMAINS, OTHER
from processors.incidents.rules import DEFAULT_RULES, IncidentRule
from processors.incidents.step import MOST_DUE
from schemas.records import Transition
from schemas.times import IsoClock
from tests.unit.incident_rig import HOUR, MINUTE, NOON_MS, SECOND, Watch, failure, tally

MILLION = 1_000_000
(REFUSED,) = (rule for rule in DEFAULT_RULES if rule.name == "refused_by_domain")


def second_of_storm(second: int, count: int, iso: IsoClock) -> list[Transition]:
    """So many failures of one second, each a copy of the same but for its times and ids."""
    pattern = failure(NOON_MS)
    found = []
    for number in range(count):
        at_ms = NOON_MS + second * SECOND + number * SECOND // count
        one = pattern.copy()
        one["message_id"] = one["receipt_id"] = f"{at_ms}-{number}"
        one["received_at"] = iso(at_ms)
        found.append(one)
    return found


def test_a_million_bounces_in_ten_minutes_are_one_incident_with_an_exact_count() -> None:
    watch, iso, sizes = Watch(), IsoClock(), []
    a_call, calls = 10, 60  # ten seconds of it a call: 16,666 or 16,667 failures
    left = MILLION
    for call in range(calls):
        count = left // (calls - call)
        left -= count
        at_ms = NOON_MS + call * a_call * SECOND
        tallied = tally(at_ms, {"bounced": count, "delivered": count // 4}, postbacks=4 * count)
        watch.take(second_of_storm(call * a_call, count, iso), [tallied])
        sizes.append(sum(len(state.state) for state in watch.store.states.values()))
        if call == 4:
            opened_ms = watch.watermark_ms
            first_words = watch.words()
    watch.at(NOON_MS + 2 * HOUR)

    assert (watch.only()["count"], watch.only()["rule"]) == (MILLION, "bounce_rate")
    assert watch.words() == ["opened", *["escalated"] * 5, "resolved"]
    assert first_words[0] == "opened"
    assert opened_ms - NOON_MS < MINUTE
    assert max(sizes) < 10_000


def test_a_storm_of_a_counting_rule_is_exact_too_and_its_state_does_not_grow() -> None:
    watch, iso = Watch((IncidentRule("all", "count", ("bounced",)),)), IsoClock()
    for second in range(40):
        watch.take(second_of_storm(second, 2_500, iso))
        if second == 1:
            early = sum(len(state.state) for state in watch.store.states.values())

    assert watch.only()["count"] == 100_000
    assert sum(len(state.state) for state in watch.store.states.values()) <= early + 10


def test_names_of_domains_are_bounded_and_nothing_is_lost_but_the_name() -> None:
    watch = Watch((REFUSED,))
    failures = [
        failure(
            NOON_MS + number,
            number=number,
            bounce_class="block_list",
            reason=f"host mx.domain{number // 5:05d}.example said: 550 blocked",
        )
        for number in range(5 * (MOST_DOMAINS + 300))
    ]
    for start in range(0, len(failures), 100):
        watch.take(failures[start : start + 100])

    domains = {row["domain"]: row["count"] for row in watch.rows.values()}
    assert len(watch.rows) == MOST_DOMAINS + 1
    assert domains[OTHER] == 5 * 300
    assert max(len(state.state) for state in watch.store.states.values()) < 6_000


def test_large_receivers_have_their_names_whatever_else_comes() -> None:
    watch = Watch((REFUSED._replace(at_least=1),))
    others = [
        failure(NOON_MS, number=n, bounce_class="authentication", reason=f"host a.b{n}.example said: 550")
        for n in range(MOST_DOMAINS + 1)
    ]
    watch.take(others)
    watch.take([failure(NOON_MS + 1, bounce_class="authentication", reason="550 see https://support.google.com/x")])

    assert "gmail.com" in {row["domain"] for row in watch.rows.values()}


def test_lists_of_names_are_forgotten_with_their_hours() -> None:
    watch = Watch((REFUSED,))
    watch.take([failure(NOON_MS, bounce_class="block_list", reason="host a.b.example said: 550")])
    for hours in range(40):
        watch.at(NOON_MS + hours * HOUR)

    assert watch.store.states == {}


def test_what_is_due_is_done_in_portions_and_then_it_ends() -> None:
    watch = Watch((IncidentRule("all", "count", ("bounced",), group_by=("campaign_id",)),))
    watch.take([failure(NOON_MS, campaign_id=f"c{number}") for number in range(2 * MOST_DUE + 1)])
    portions = [len(watch.at(NOON_MS + 2 * HOUR).groups) for _ in range(4)]

    assert portions == [MOST_DUE, MOST_DUE, 1, 0]
    assert {row["state"] for row in watch.rows.values()} == {"resolved"}


def test_odd_names_make_one_short_line() -> None:
    watch = Watch((IncidentRule("all", "count", ("bounced",), group_by=("campaign_id",)),))
    watch.take([failure(NOON_MS, campaign_id="wel\ncome\u202e" + "x" * 1_000)])

    assert watch.only()["title"].isprintable()
    assert len(watch.only()["title"]) < 200
