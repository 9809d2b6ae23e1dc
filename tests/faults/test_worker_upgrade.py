"""Versions beside each other: one writes a field the other does not know, and partitions go back and forth."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from tests.faults.newer_worker import FIELD
from tests.faults.test_worker import rng, working
from tests.faults.test_worker_rebalance import until_they_have
from tests.faults.worker_rig import Outcome, Worker, all_handled, check, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka

__all__ = ["rng"]


@pytest.mark.timeout(180)
async def test_a_newer_worker_beside_one_that_does_not_know_its_field(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(4_000, rng)
    await topics(kafka.address, topic_prefix, partitions=4)
    old = Worker(kafka.address, topic_prefix, tmp_path / "old")
    new = Worker(kafka.address, topic_prefix, tmp_path / "new", program=("-m", "tests.faults.newer_worker"))
    async with working(old):
        await feed(kafka.address, topic_prefix, sent[:1_000])
        async with working(new):
            await until_they_have(old, new, 4, at_least_each=1)
            await feed(kafka.address, topic_prefix, sent[1_000:2_500])
            both = await all_handled(kafka.address, topic_prefix, count=2_500)
        await until_they_have(old, None, 4)
        await feed(kafka.address, topic_prefix, sent[2_500:])
        found = await all_handled(kafka.address, topic_prefix, count=len(sent))

    known = with_field(both)
    assert 0 < len(known) < len(both_messages(both))
    assert known <= with_field(found)  # the older one keeps what it does not know
    check(without_field(found))


def both_messages(found: Outcome) -> set[bytes | None]:
    return {record.key for records in found.status.values() for record in records}


def with_field(found: Outcome) -> set[bytes | None]:
    """Messages whose last record has the field."""
    last = {record.key: record.value for records in found.status.values() for record in records}
    return {key for key, value in last.items() if FIELD in orjson.loads(value or b"{}")}


def without_field(found: Outcome) -> Outcome:
    for records in found.status.values():
        for record in records:
            state = orjson.loads(record.value or b"{}")
            state.pop(FIELD, None)
            record.value = orjson.dumps(state)
    return found
