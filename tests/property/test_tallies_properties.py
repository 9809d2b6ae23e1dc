"""Tallies add up to what happened, however the postbacks were put into batches; a message fails once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.tallies import Tallies
from schemas.batch import Batch
from schemas.codec import check
from schemas.kafka_outputs import FAILURE_TYPE, failures_of, outputs_of, tally_of, tally_output, transition_of
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import StatusRecord
from schemas.statuses import DELIVERY_WORDS, FAILURE_WORDS
from schemas.tallies import BUCKET_S, MOST_SAMPLES, Tally
from schemas.times import epoch_ms, iso_ms
from tests.integration.read_rig import MIDNIGHT_MS, braze, documented

NORMALIZE = Normalizer(Classifier.load(None))
SENT = [
    *documented(),
    *(braze("late", word) for word in ("delivered", "bounced", "aborted")),
    *(braze("twice", word, reason=f"r{word}") for word in ("bounced", "bounced")),
    braze("odd", "teleported"),
]
GAP_MS = 3_000


class Kept:
    """A `StateStore` that forgets nothing."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        return {name: orjson.loads(self.states[name]) for name in message_ids if name in self.states}


def handled(picked: list[int], cuts: list[int]) -> list[Batch]:
    """The batches that come of some postbacks, one each `GAP_MS`, cut where `cuts` says."""
    records = []
    for offset, number in enumerate(picked):
        one = SENT[number]
        postback = Postback(
            *(one.source, one.provider, KIND_POSTBACK, f"r{offset}", MIDNIGHT_MS + offset * GAP_MS),
            *(one.content_type, one.content_encoding, one.body),
        )
        records.append(LogRecord(offset, postback))
    store, batches = Kept(), []
    processor = PartitionProcessor(normalize=NORMALIZE, store=store)
    edges = [0, *sorted(cut % (len(records) + 1) for cut in cuts), len(records)]
    for start, end in pairwise(edges):
        batches.append(processor.handle(records[start:end]))
        store.states.update((name, orjson.dumps(state)) for name, state in batches[-1].states.items())
    return batches


def tallies_of(batches: Iterable[Batch]) -> list[Tally]:
    found = []
    for batch in batches:
        tallies = Tallies()
        tallies.add(batch)
        found += tallies.take()
        assert tallies.take() == []
    return found


picks = st.lists(st.integers(0, len(SENT) - 1), max_size=30)
cutting = st.lists(st.integers(0, 100), max_size=4)


@given(picks, cutting)
def test_they_add_up(picked: list[int], cuts: list[int]) -> None:
    batches = handled(picked, cuts)
    tallies = tallies_of(batches)

    assert sum(tally["postbacks"] for tally in tallies) == len(picked)
    assert sum(sum(tally["dead"].values()) for tally in tallies) == sum(len(batch.dead) for batch in batches)
    came: Counter[str] = Counter()
    for tally in tallies:
        came.update(tally["counts"])
    latest = {name: state for batch in batches for name, state in batch.states.items()}
    failed = Counter(state["status"] for state in latest.values() if state["outcome"] == "failed")
    # Between two failures a message changes its status; it has failed once all the same.
    assert sum(count for word, count in came.items() if word in FAILURE_WORDS) >= sum(failed.values())
    assert all(came[word] >= count for word, count in failed.items())
    told = Counter(word for batch in batches for word in batch.words if word not in DELIVERY_WORDS)
    assert {word: count for word, count in came.items() if word not in DELIVERY_WORDS} == told
    reversed_count = sum(tally["reversed"] for tally in tallies)
    assert reversed_count == sum(
        transition["from_status"] == "delivered" and transition["outcome"] == "failed"
        for batch in batches
        for transition in batch.transitions
    )


@given(picks, cutting)
def test_the_counts_do_not_depend_on_the_batches(picked: list[int], cuts: list[int]) -> None:
    def added(tallies: Iterable[Tally]) -> dict[tuple[object, ...], Counter[str]]:
        found: dict[tuple[object, ...], Counter[str]] = {}
        for tally in tallies:
            key = (tally["source"], tally["channel"], tally["campaign_id"], tally["bucket_at"])
            found.setdefault(key, Counter()).update({"postbacks": tally["postbacks"], **tally["counts"]})
        return found

    # A campaign told later in the batch is that of the whole batch, so only sources with one are compared.
    named = [number for number in picked if SENT[number].source == "braze"]
    assert added(tallies_of(handled(named, cuts))) == added(tallies_of(handled(named, [])))


@given(picks, cutting)
def test_each_is_of_one_bucket_and_is_read_again(picked: list[int], cuts: list[int]) -> None:
    tallies = tallies_of(handled(picked, cuts))

    for tally in tallies:
        check(Tally, orjson.loads(orjson.dumps(tally)))
        begin = epoch_ms(tally["bucket_at"])
        assert begin % (BUCKET_S * 1000) == 0
        assert tally["bucket_at"] <= tally["first_received_at"] <= tally["last_received_at"]
        assert tally["last_received_at"] < iso_ms(begin + BUCKET_S * 1000)
        assert tally_of(tally_output(tally).value) == tally
        words = Counter(sample["word"] for sample in tally["samples"])
        assert all(count <= MOST_SAMPLES for count in words.values())
        assert words.keys() >= tally["dead"].keys()
    assert len({tally["tally_id"] for tally in tallies}) == len(tallies)


@given(picks, cutting)
def test_a_message_fails_once(picked: list[int], cuts: list[int]) -> None:
    batches = handled(picked, cuts)
    failures = [failure for batch in batches for failure in failures_of(batch.transitions)]
    latest = {name: state for batch in batches for name, state in batch.states.items()}

    assert Counter(failure["message_id"] for failure in failures) == Counter(
        name for name, state in latest.items() if state["outcome"] == "failed"
    )
    for batch in batches:
        made = outputs_of(batch, partition=0, next_offset=99).failures
        assert [transition_of(one.value) for one in made] == failures_of(batch.transitions)
        for one in made:
            named = dict(one.headers)
            failure = transition_of(one.value)
            assert named["ce_type"] == FAILURE_TYPE.encode()
            assert named["ce_status"] == failure["status"].encode()
            assert named["ce_class"] == (failure["bounce_class"] or "").encode()
            assert (one.key or b"").decode() == f"{failure['source']}/{failure['campaign_id'] or ''}"
