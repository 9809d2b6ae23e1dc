"""Design §2.3: the final state of a message depends on the set of its postbacks, not on their order or number."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.lifecycle import KEPT_EACH_END, Message
from schemas.codec import check, decode, encode
from schemas.event import Event
from schemas.records import StatusRecord, Transition, message_status
from schemas.statuses import ARRIVAL_WORDS, FAILURE_WORDS, OUTCOME, RANK, STATUSES
from schemas.times import iso_ms

HORIZON_MS = 20 * 60_000
START_MS = 1_795_248_000_000
WORDS = [row.word for row in STATUSES]


class Told(NamedTuple):
    """One postback of the message: the event and when it was received."""

    event: Event
    received_ms: int


def event(
    status: str,
    *,
    at: str | None = None,
    reason: str | None = None,
    occurrence: str | None = None,
    word: str | None = None,
) -> Event:
    return Event(
        status=status,
        provider_status=word or status,
        provider_time=at,
        reason=reason,
        bounce_class="unclassified" if status in FAILURE_WORDS else None,
        channel="email",
        dispatch_id="d1",
        external_send_id="e1",
        scope=None,
        campaign_id=None,
        reference="e1",
        requested_at=None,
        occurrence=occurrence,
        retry_horizon_ms=HORIZON_MS,
        identifiers=(),
        flags=(),
    )


def fold(told: list[Told], *, reload: bool = False) -> StatusRecord:
    """The state after `told`; `reload` writes it out and reads it back after each."""
    message: Message | None = None
    for number, (what, received_ms) in enumerate(told):
        received_at = iso_ms(received_ms)
        message = message or Message.first_seen(
            what, message_id="m1", source="braze", provider="braze", received_at=received_at
        )
        transition = message.apply(what, received_at, f"r{number}")
        if transition is not None:
            check(Transition, transition)
        if reload:
            value = encode(message.finish())
            message = Message(decode(StatusRecord, value))
    assert message is not None
    return message.finish()


times = st.none() | st.integers(0, 5).map(lambda minute: iso_ms(START_MS + minute * 60_000))
timed = st.builds(
    event,
    st.sampled_from(WORDS),
    at=times,
    reason=st.none() | st.sampled_from(["550 5.1.1 no such user", "4.2.2 full"]),
)
untimed = st.builds(event, st.sampled_from(sorted(ARRIVAL_WORDS)), occurrence=st.sampled_from(["a", "b"]))
received = st.integers(0, 12).map(lambda step: START_MS + step * 9 * 60_000)  # gaps below and above the horizon
stories = st.lists(st.builds(Told, timed | untimed, received), min_size=1, max_size=12)


@given(stories, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_state(told: list[Told], random: Random) -> None:
    shuffled = list(told)
    random.shuffle(shuffled)

    assert fold(shuffled) == fold(told)


@given(stories, st.data())
def test_repeats_change_only_the_counts(told: list[Told], data: st.DataObject) -> None:
    repeated = [*told, *data.draw(st.lists(st.sampled_from(told), max_size=8))]
    once, more = message_status(fold(told)), message_status(fold(repeated))

    assert more["version"] == once["version"] + len(repeated) - len(told)
    for record in (once, more):
        for fact in record["facts"]:
            fact["duplicates"] = 0
    assert {**more, "duplicates": 0, "version": 0} == {**once, "duplicates": 0, "version": 0}


@given(stories)
def test_the_state_survives_being_written_and_read_after_every_postback(told: list[Told]) -> None:
    assert fold(told, reload=True) == fold(told)


@given(stories)
def test_the_status_is_what_an_independent_model_says(told: list[Told]) -> None:
    state = fold(told)
    words = {what.status for what, _ in told}
    ranked = sorted(words, key=lambda word: RANK[word])
    failures = words & FAILURE_WORDS

    if RANK[ranked[-1]] >= 0:
        assert RANK[state["status"]] == RANK[ranked[-1]]
    else:
        assert state["status"] == ("delivered" if words & ARRIVAL_WORDS else "unknown")
    assert state["outcome"] == OUTCOME[state["status"]]
    contradicted = words & (ARRIVAL_WORDS | {"delivered"}) or ("aborted" in words and words & {"sent", "processed"})
    assert state["conflict"] is bool(failures and (len(failures) > 1 or contradicted))


@given(stories)
def test_every_postback_is_a_fact_or_a_repeat(told: list[Told]) -> None:
    state = fold(told)

    assert state["version"] == len(told) == len(state["facts"]) + state["duplicates"]
    assert state["duplicates"] == sum(fact["duplicates"] for fact in state["facts"])


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_ties_are_decided_by_time_then_word_then_id_in_every_order(order: tuple[int, ...]) -> None:
    noon, one = iso_ms(START_MS), iso_ms(START_MS + 3_600_000)
    told = [event("bounced", at=noon), event("aborted", at=one), event("bounced"), event("undelivered", at=one)]

    state = fold([Told(told[place], START_MS + step) for step, place in enumerate(order)])

    assert (state["status"], state["failed_at"], state["conflict"]) == ("aborted", one, True)


@given(st.permutations(range(240)))
def test_the_kept_facts_do_not_depend_on_order_and_are_the_first_and_last(order: list[int]) -> None:
    told = [event("processed", at=iso_ms(START_MS + number)) for number in range(240)]
    told[120] = event("bounced", at=iso_ms(START_MS + 120), reason="550 5.1.1 gone")

    state = fold([Told(told[place], START_MS) for place in order])

    kept = [fact["provider_time"] for fact in state["facts"]]
    ends = [*range(KEPT_EACH_END), 120, *range(240 - KEPT_EACH_END, 240)]
    assert kept == [iso_ms(START_MS + number) for number in ends]
    assert (state["status"], state["version"], state["duplicates"]) == ("bounced", 240, 240 - 101)
    assert state["processed_at"] == iso_ms(START_MS)


def test_ten_thousand_distinct_events_stay_small() -> None:
    state = fold([Told(event("sent", at=iso_ms(START_MS + number)), START_MS + number) for number in range(10_000)])

    assert len(state["facts"]) == 2 * KEPT_EACH_END
    assert len(encode(state)) < 32_768
    assert state["duplicates"] == 10_000 - 2 * KEPT_EACH_END


def test_ten_thousand_repeats_stay_one_fact() -> None:
    state = fold([Told(event("sent", at=iso_ms(START_MS)), START_MS + number) for number in range(10_000)])

    assert [fact["duplicates"] for fact in state["facts"]] == [9_999]


clicks = st.lists(st.builds(Told, st.just(event("clicked", occurrence="a")), received), min_size=3, max_size=7)


@given(clicks, st.randoms(use_true_random=False))
def test_clicks_without_id_or_time_are_spans_without_a_long_gap_in_any_order(told: list[Told], random: Random) -> None:
    shuffled = list(told)
    random.shuffle(shuffled)
    spans: list[list[int]] = []
    for at_ms in sorted(received_ms for _, received_ms in told):
        if spans and at_ms - spans[-1][-1] <= HORIZON_MS:
            spans[-1].append(at_ms)
        else:
            spans.append([at_ms])

    facts = sorted(fold(shuffled, reload=True)["facts"], key=lambda fact: fact["received_at"])

    assert [(fact["received_at"], fact["duplicates"] + 1) for fact in facts] == [(iso_ms(s[0]), len(s)) for s in spans]


@pytest.mark.parametrize("pair", list(permutations(WORDS, 2)))
def test_two_words_conflict_exactly_as_the_design_says(pair: tuple[str, str]) -> None:
    failures = {"undelivered", "expired", "rejected", "aborted", "bounced"}
    against_failure = {"delivered", "opened", "clicked", "unsubscribed", "complained"}
    one, other = pair
    expected = any(
        a in failures and (b in failures or b in against_failure or (a == "aborted" and b in {"sent", "processed"}))
        for a, b in ((one, other), (other, one))
    )

    state = fold([Told(event(one), START_MS), Told(event(other), START_MS + 1)])

    assert state["conflict"] is expected
    assert {fact["effect"] for fact in state["facts"]} >= ({"current", "conflicting"} if expected else set())
