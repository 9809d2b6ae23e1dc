"""Bodies that raise, end the process or never end become dead letters, and hold up nobody for long."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from tests.faults.poisoned_worker import ENDS, HANGS, RAISES
from tests.faults.test_worker import rng, working
from tests.faults.worker_rig import Outcome, Worker, all_handled, check, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka

__all__ = ["rng"]
PROGRAM = ("-m", "tests.faults.poisoned_worker")


@pytest.mark.timeout(150)
async def test_a_hundred_raising_bodies_among_ten_thousand_are_the_only_dead_letters(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    poison = [RAISES % number for number in range(100)]
    sent = mixed(rng, postbacks(10_000, rng, garbage=0), poison)
    await topics(kafka.address, topic_prefix, partitions=2)
    worker = Worker(kafka.address, topic_prefix, tmp_path, program=PROGRAM)
    async with working(worker):
        await feed(kafka.address, topic_prefix, sent)
        found = await all_handled(kafka.address, topic_prefix, count=len(sent))

    check(found, refused=frozenset(poison))
    assert reasons(found) == ["processing_error"] * 100


@pytest.mark.timeout(240)
async def test_bodies_that_end_or_hold_up_the_process_are_put_aside_after_three_tries(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = mixed(rng, postbacks(500, rng, garbage=0), [ENDS, HANGS])
    await topics(kafka.address, topic_prefix, partitions=2)
    worker = Worker(kafka.address, topic_prefix, tmp_path, program=PROGRAM)
    async with working(worker):
        await feed(kafka.address, topic_prefix, sent)
        found = await all_handled(kafka.address, topic_prefix, count=len(sent), within_s=200)

    check(found, refused=frozenset([ENDS, HANGS]))
    assert reasons(found) == ["process_killed"] * 2


def mixed(rng: random.Random, sent: list[Postback], bodies: list[bytes]) -> list[Postback]:
    receipt_ids = ReceiptIds()
    now_ms = sent[-1].received_ms + 1
    for body in bodies:
        postback = Postback("braze", "braze", KIND_POSTBACK, receipt_ids.next(now_ms), now_ms, "", "", body)
        sent.insert(rng.randrange(len(sent)), postback)
    return sent


def reasons(found: Outcome) -> list[str]:
    return [dict(one.headers)["reason"].decode() for records in found.dead.values() for one in records]
