"""The gateway's log on a real broker: down, frozen, killed, without its topic, short of replicas. No answer but 200."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

from aiokafka import AIOKafkaConsumer

from ingest.kafka_log import KafkaLimits, KafkaLog
from ingest.spooled_log import SpooledLog
from schemas.kafka_records import postback_of
from schemas.postback import Postback
from tests.integration.file_log_rig import SystemClock, answers, postbacks, send
from tests.kafka.kafka_rig import Kafka, create_topics
from tests.kafka.local_kafka import LocalKafka

TOPIC: Final = "sendtrace.raw"
IMPATIENT: Final = KafkaLimits(request_timeout_s=1.5)
PLENTY: Final = 100_000_000
#: A record the broker has: key, partition and what it says.
Found = tuple[str, int, Postback]


def key_of(postback: Postback) -> str:
    """Seven keys, by the number the body begins with."""
    return f"shop/{int(postback.body.split()[0]) % 7}"


@asynccontextmanager
async def gateway_log(address: str, spool: Path, *, topic: str = TOPIC) -> AsyncIterator[tuple[SpooledLog, KafkaLog]]:
    front = KafkaLog(brokers=address.split(","), topic=topic, key_of=key_of, limits=IMPATIENT)
    log = SpooledLog(front, spool, clock=SystemClock(), most_bytes=PLENTY)
    front.start()
    log.start()
    try:
        yield log, front
    finally:
        await front.close()
        await log.close()


async def read(address: str, topic: str, *, within_s: float = 20) -> list[Found]:
    """Everything on the topic now."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest", request_timeout_ms=5000)
    found: list[Found] = []
    async with AsyncExitStack() as stack:
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        async with asyncio.timeout(within_s):
            ends = await consumer.end_offsets(consumer.assignment())
            while [one for one, end in ends.items() if await consumer.position(one) < end]:
                for partition, records in (await consumer.getmany(timeout_ms=300)).items():
                    found += [
                        ((one.key or b"").decode(), partition.partition, postback_of(one.headers, one.value))
                        for one in records
                    ]
    return found


async def until(true: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  nobody tells us when it is
            await asyncio.sleep(0.02)


def assert_nothing_lost(found: list[Found], sent: list[Postback]) -> None:
    """Each is there, none that was not sent; a batch of which nobody knew may be there twice."""
    times = Counter(postback.receipt_id for _, _, postback in found)

    assert times.keys() == {postback.receipt_id for postback in sent}
    assert {postback for _, _, postback in found} == set(sent)


async def test_what_is_kept_is_on_the_topic_once_with_its_key_and_in_order(
    kafka: Kafka, topic_prefix: str, tmp_path: Path
) -> None:
    topic, sent = f"{topic_prefix}raw", postbacks(2_000, size_bytes=600)
    await create_topics(kafka.address, topic, partitions=4)
    async with gateway_log(kafka.address, tmp_path, topic=topic) as (log, front):
        await until(front.can_keep)
        assert set(await answers(send(log, sent))) == {True}
        assert (front.stats.records, log.stats.spooled) == (2_000, 0)
        assert front.stats.batches < 50

    found = await read(kafka.address, topic)
    assert len(found) == 2_000
    for name in {key_of(postback) for postback in sent}:
        of_key = [(partition, postback) for key, partition, postback in found if key == name]
        assert [postback for _, postback in of_key] == [postback for postback in sent if key_of(postback) == name]
        assert {partition for partition, _ in of_key} == {crc32(name.encode()) % 4}


async def test_it_starts_and_keeps_before_there_is_a_broker_or_a_topic(tmp_path: Path) -> None:
    broker, sent = LocalKafka.create(tmp_path / "kafka"), postbacks(200)
    try:
        async with gateway_log(broker.address, tmp_path / "spool") as (log, front):
            assert set(await answers(send(log, sent[:100]))) == {True}
            await asyncio.to_thread(broker.start)
            assert set(await answers(send(log, sent[100:]))) == {True}
            assert not front.can_keep()
            await create_topics(broker.address, TOPIC, partitions=2)
            await until(lambda: log.waiting_bytes == 0)

        assert_nothing_lost(await read(broker.address, TOPIC), sent)
    finally:
        broker.kill()


async def test_a_broker_that_is_killed_and_comes_back_costs_no_answer(
    private_kafka: LocalKafka, tmp_path: Path
) -> None:
    sent = postbacks(3_000, size_bytes=600)
    await create_topics(private_kafka.address, TOPIC, partitions=3)
    async with gateway_log(private_kafka.address, tmp_path) as (log, front):
        await until(front.can_keep)
        told = []
        for start in range(0, 3_000, 50):
            if start == 1_000:
                private_kafka.kill()
            if start == 2_000:
                await asyncio.to_thread(private_kafka.start)
            told += await answers(send(log, sent[start : start + 50]))
        assert set(told) == {True}
        assert log.stats.spooled > 0
        await until(lambda: log.waiting_bytes == 0)

    assert_nothing_lost(await read(private_kafka.address, TOPIC), sent)


async def test_a_frozen_broker_costs_no_answer_either(private_kafka: LocalKafka, tmp_path: Path) -> None:
    sent = postbacks(400)
    await create_topics(private_kafka.address, TOPIC, partitions=3)
    async with gateway_log(private_kafka.address, tmp_path) as (log, front):
        await until(front.can_keep)
        assert set(await answers(send(log, sent[:100]))) == {True}
        private_kafka.pause()
        async with asyncio.timeout(8):
            assert set(await answers(send(log, sent[100:300]))) == {True}
        private_kafka.resume()
        assert set(await answers(send(log, sent[300:]))) == {True}
        await until(lambda: log.waiting_bytes == 0)

    assert_nothing_lost(await read(private_kafka.address, TOPIC), sent)


async def test_too_few_replicas_in_sync_costs_no_answer_and_is_taken_up_again(
    start_kafka: Callable[[int], LocalKafka], tmp_path: Path
) -> None:
    cluster, sent = await asyncio.to_thread(start_kafka, 3), postbacks(300)
    await create_topics(cluster.address, TOPIC, replicas=3, settings={"min.insync.replicas": "3"})
    async with gateway_log(cluster.address, tmp_path) as (log, front):
        await until(front.can_keep)
        assert set(await answers(send(log, sent[:100]))) == {True}
        cluster.kill(3)
        async with asyncio.timeout(10):
            assert set(await answers(send(log, sent[100:]))) == {True}
        assert log.stats.spooled >= 200
        await asyncio.to_thread(cluster.start, 3)
        await until(lambda: log.waiting_bytes == 0, within_s=40)

    assert_nothing_lost(await read(cluster.address, TOPIC), sent)
