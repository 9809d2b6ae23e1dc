"""`sendtrace worker` on a real broker, killed, frozen, joined and left: each raw record does what it must, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.crashing_worker import POINTS
from tests.faults.worker_rig import Worker, all_handled, check, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka

SEED = int(os.environ.get("SENDTRACE_SEED", time.time_ns() % 1_000_000))


@pytest.fixture
def rng() -> random.Random:
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when it fails, to run the same plan again)
    return random.Random(SEED)


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    """They are gone afterwards, whatever happens."""
    try:
        await asyncio.gather(*(worker.start() for worker in workers))
        yield
    finally:
        for worker in workers:
            worker.send(signal.SIGCONT)
            await worker.kill()
            print(worker.said)  # noqa: T201 (shown when the test fails)


@pytest.mark.timeout(120)
async def test_everything_is_handled_once_and_a_stop_leaves_nothing_half_done(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(5_000, rng)
    await topics(kafka.address, topic_prefix, partitions=4)
    worker = Worker(kafka.address, topic_prefix, tmp_path)
    async with working(worker):
        await feed(kafka.address, topic_prefix, sent[:2_500])
        await all_handled(kafka.address, topic_prefix, count=1_000)
        assert await worker.stop() == 0
        await worker.start()
        await feed(kafka.address, topic_prefix, sent[2_500:])
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))


@pytest.mark.timeout(240)
async def test_kills_of_workers_and_of_their_processes_lose_and_repeat_nothing(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(12_000, rng)
    await topics(kafka.address, topic_prefix, partitions=4)
    workers = [Worker(kafka.address, topic_prefix, tmp_path / str(number)) for number in range(2)]
    async with working(*workers):
        feeding = asyncio.ensure_future(feed(kafka.address, topic_prefix, sent, per_s=600))
        for number in range(9):
            await asyncio.sleep(rng.uniform(1.0, 3.0))
            worker = rng.choice(workers)
            if number % 3 == 2:
                await worker.kill()
                await worker.start(wait=False)
            else:
                worker.send_to_processes(signal.SIGKILL)
        await feeding
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))


@pytest.mark.timeout(90)
@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_each_point_of_a_transaction_leaves_all_of_it_or_nothing(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random, point: str
) -> None:
    sent = postbacks(2_000, rng)
    await topics(kafka.address, topic_prefix, partitions=1)
    marker = tmp_path / "crashed"
    settings = {"CRASH_AT": point, "CRASH_MARKER": str(marker)}
    program = ("-m", "tests.faults.crashing_worker")
    async with working(Worker(kafka.address, topic_prefix, tmp_path, program=program, settings=settings)):
        await feed(kafka.address, topic_prefix, sent, per_s=1_000)
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))
    assert marker.exists()
