"""Workers join, leave and freeze: partitions move, nothing is lost or done twice, a frozen one comes back by itself."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from processors.faust_shell.shell import SESSION_TIMEOUT_S
from tests.faults.test_worker import rng, working
from tests.faults.worker_rig import Worker, all_handled, check, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka

__all__ = ["rng"]


@pytest.mark.timeout(180)
async def test_workers_that_join_and_leave_share_the_partitions(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(15_000, rng)
    await topics(kafka.address, topic_prefix, partitions=4)
    first, second, third = (Worker(kafka.address, topic_prefix, tmp_path / str(number)) for number in range(3))
    async with working(first):
        feeding = asyncio.ensure_future(feed(kafka.address, topic_prefix, sent, per_s=500))
        await second.start()
        await until_they_have(first, second, 4, at_least_each=1)
        await third.start()
        assert await second.stop() == 0
        await until_they_have(first, third, 4)
        assert "starting it again" not in first.said
        await feeding
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))
        assert await third.stop() == 0


@pytest.mark.timeout(180)
async def test_a_worker_frozen_past_its_session_is_fenced_comes_back_and_goes_on(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(12_000, rng)
    await topics(kafka.address, topic_prefix, partitions=4)
    frozen, other = (Worker(kafka.address, topic_prefix, tmp_path / str(number)) for number in range(2))
    async with working(frozen, other):
        feeding = asyncio.ensure_future(feed(kafka.address, topic_prefix, sent, per_s=400))
        await asyncio.sleep(2)
        frozen.send(signal.SIGSTOP)
        await asyncio.sleep(SESSION_TIMEOUT_S + 4)
        await until_they_have(other, None, 4)
        frozen.send(signal.SIGCONT)
        await until_they_have(frozen, other, 4, at_least_each=1)
        await feeding
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))


async def partitions_of(worker: Worker) -> int:
    """How many it has, all of them recovered; -1 while it is not ready."""
    state = await worker.state()
    processes = state["processes"]
    assert isinstance(processes, list)
    return sum(len(each["partitions"]) for each in processes) if state["ready"] else -1


async def until_they_have(
    first: Worker, second: Worker | None, partitions: int, *, at_least_each: int = 0, within_s: float = 60
) -> None:
    """Both are ready and share so many."""
    shares: list[int] = []
    try:
        async with asyncio.timeout(within_s):
            while True:
                shares = [await partitions_of(worker) for worker in (first, second) if worker is not None]
                if sum(shares) == partitions and min(shares) >= at_least_each:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"after {within_s:g} s they have {shares} partitions") from None
