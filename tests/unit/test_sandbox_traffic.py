"""The stream of made-up traffic: repeatable, in time order, and disturbed as networks disturb."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import islice

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event, Rejected
from schemas.postback import KIND_POSTBACK, Postback
from sendtrace.sandbox_posting import Posting
from sendtrace.sandbox_traffic import traffic

START_MS = 1_700_000_000_123
NORMALIZE = Normalizer(Classifier.load(None))


@cache
def taken(
    count: int, *, seed: int = 1, rate: float = 20, providers: tuple[str, ...] = ("braze", "nrs360")
) -> list[Posting]:
    return list(islice(traffic(seed=seed, messages_per_s=rate, start_ms=START_MS, providers=providers), count))


def read(postings: list[Posting]) -> list[Event | Rejected]:
    return [
        NORMALIZE(
            Postback(
                p.provider, p.provider, KIND_POSTBACK, "r", START_MS + int(p.at_s * 1000), p.content_type, "", p.body
            )
        )
        for p in postings
    ]


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    assert taken(2_000) == taken.__wrapped__(2_000)


def test_another_seed_gives_other_messages() -> None:
    assert not {p.body for p in taken(500)} & {p.body for p in taken(500, seed=2) if p.provider == "braze"}


def test_postings_come_in_time_order() -> None:
    times = [p.at_s for p in taken(5_000)]

    assert times == sorted(times)


def test_the_rate_is_that_of_messages() -> None:
    postings = taken(8_000, rate=20)
    sends = sum(isinstance(e, Event) and e.status in {"sent", "aborted", "form_opened"} for e in read(postings))

    assert 16 < sends / postings[-1].at_s < 24


def test_the_first_seconds_show_a_delivery_a_bounce_and_an_abort() -> None:
    for seed in range(20):
        soon = [p for p in taken(400, seed=seed, rate=5) if p.at_s < 45]

        assert {"delivered", "bounced", "aborted"} <= {e.status for e in read(soon) if isinstance(e, Event)}


def test_some_postings_come_twice_and_some_out_of_order() -> None:
    postings = taken(5_000, providers=("braze",))
    repeats = sum(count - 1 for count in Counter(p.body for p in postings).values())
    events = [e for e in read(postings) if isinstance(e, Event) and e.dispatch_id]
    delivered: set[str | None] = set()
    overtaken = 0
    for event in events:
        overtaken += event.status == "processed" and event.dispatch_id in delivered
        delivered |= {event.dispatch_id} if event.status == "delivered" else set()

    assert 0.02 < repeats / len(postings) < 0.08
    assert overtaken > 10


def test_most_bodies_are_understood_and_a_few_are_not() -> None:
    events = read(taken(10_000))
    refused = Counter(event.reason for event in events if isinstance(event, Rejected))

    assert 0 < refused.total() < 0.02 * len(events)
    assert len(refused) >= 5


def test_unknown_words_occur_now_and_then() -> None:
    unknown = sum(isinstance(e, Event) and e.status == "unknown" for e in read(taken(10_000)))

    assert 10 < unknown < 300


def test_one_provider_alone_can_be_asked_for() -> None:
    assert {p.provider for p in taken(500, providers=("nrs360",))} == {"nrs360"}
