"""Brokers that are away, slow, killed, short of replicas or without topics: the worker waits, says why, and goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.topics import IN_USE, STATUS
from tests.faults.test_worker import rng, working
from tests.faults.worker_rig import Worker, all_handled, check, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka, create_topics
from tests.kafka.local_kafka import LocalKafka

__all__ = ["rng"]


@pytest.mark.timeout(180)
async def test_a_broker_that_is_killed_and_comes_back_twice(
    private_kafka: LocalKafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(4_000, rng)
    await topics(private_kafka.address, topic_prefix, partitions=4)
    async with working(Worker(private_kafka.address, topic_prefix, tmp_path)):
        for part in (sent[:2_000], sent[2_000:]):
            await feed(private_kafka.address, topic_prefix, part)
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            private_kafka.kill()
            await asyncio.sleep(3)
            await asyncio.to_thread(private_kafka.start)
        check(await all_handled(private_kafka.address, topic_prefix, count=len(sent)))


@pytest.mark.timeout(180)
async def test_a_broker_that_is_frozen_for_a_quarter_of_a_minute(
    private_kafka: LocalKafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(3_000, rng)
    await topics(private_kafka.address, topic_prefix, partitions=4)
    async with working(Worker(private_kafka.address, topic_prefix, tmp_path)):
        await feed(private_kafka.address, topic_prefix, sent)
        await asyncio.sleep(0.2)
        private_kafka.pause()
        await asyncio.sleep(15)
        private_kafka.resume()
        check(await all_handled(private_kafka.address, topic_prefix, count=len(sent)))


@pytest.mark.timeout(120)
async def test_a_worker_waits_for_its_topics_and_names_the_command_that_makes_them(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    worker = Worker(kafka.address, topic_prefix, tmp_path)
    try:
        await worker.start(wait=False)
        await until_said(worker, f"the topic {topic_prefix}raw does not exist; run `sendtrace topics create`")
        await topics(kafka.address, topic_prefix, partitions=2)
        await worker.until_ready()
        sent = postbacks(200, rng)
        await feed(kafka.address, topic_prefix, sent)
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))
    finally:
        await worker.kill()
        print(worker.said)  # noqa: T201 (shown when the test fails)


@pytest.mark.timeout(120)
async def test_a_worker_waits_for_its_broker(
    private_kafka: LocalKafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    await topics(private_kafka.address, topic_prefix, partitions=2)
    private_kafka.kill()
    worker = Worker(private_kafka.address, topic_prefix, tmp_path)
    try:
        await worker.start(wait=False)
        await until_said(worker, f"{private_kafka.address}: no broker answers")
        await asyncio.to_thread(private_kafka.start)
        await worker.until_ready()
        sent = postbacks(200, rng)
        await feed(private_kafka.address, topic_prefix, sent)
        check(await all_handled(private_kafka.address, topic_prefix, count=len(sent)))
    finally:
        await worker.kill()
        print(worker.said)  # noqa: T201 (shown when the test fails)


@pytest.mark.timeout(240)  # three brokers start on one small machine
async def test_too_few_in_sync_replicas_hold_it_up_and_nothing_else(
    start_kafka: Callable[[int], LocalKafka], topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(2_000, rng)
    three = await asyncio.to_thread(start_kafka, 3)
    for topic in IN_USE:
        settings = {"min.insync.replicas": "2"} | ({"cleanup.policy": "compact"} if topic is STATUS else {})
        await create_topics(three.address, f"{topic_prefix}{topic.name}", partitions=2, replicas=3, settings=settings)
    async with working(Worker(three.address, topic_prefix, tmp_path)):
        await feed(three.address, topic_prefix, sent[:1_000])
        await all_handled(three.address, topic_prefix, count=500)
        three.kill(3)
        await feed(three.address, topic_prefix, sent[1_000:1_500])
        await all_handled(three.address, topic_prefix, count=1_200)
        three.kill(2)
        await asyncio.sleep(5)
        await asyncio.to_thread(three.start)
        await feed(three.address, topic_prefix, sent[1_500:])
        check(await all_handled(three.address, topic_prefix, count=len(sent)))


async def until_said(worker: Worker, text: str, within_s: float = 30) -> None:
    try:
        async with asyncio.timeout(within_s):
            while text not in worker.said:  # noqa: ASYNC110  nobody tells us when it is said
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"it did not say {text!r}:\n{worker.said}") from None
