"""The brokers that other tests rely on: they keep records, come back, stop on demand, and `make kafka` has them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.kafka.broker_answers import brokers_at
from tests.kafka.kafka_jars import ROOT
from tests.kafka.kafka_rig import Kafka, create_topics
from tests.kafka.local_kafka import LocalKafka

FETCHED_MS = 10_000


@asynccontextmanager
async def producing(address: str, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=True, transactional_id=transactional_id
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def committed(address: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values of a topic that a committed reader sees."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(FETCHED_MS / 1000):
            return [(await consumer.getone()).value or b"" for _ in range(count)]
    finally:
        await consumer.stop()


def make(target: str, data: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """The real target, with this interpreter and a directory of its own."""
    places = (f"BIN={Path(sys.executable).parent}", f"KAFKA_DATA={data}")
    # -o: not the moment to set up, however old the environment is.
    return subprocess.run(
        ["make", "-o", ".venv/sendtrace-ready", target, *places, *settings],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_a_committed_reader_sees_what_was_committed_and_nothing_else(kafka: Kafka, topic_prefix: str) -> None:
    topic = f"{topic_prefix}facts"
    await create_topics(kafka.address, topic)

    async with producing(kafka.address, f"{topic_prefix}writer") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"taken back")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"kept")

    assert await committed(kafka.address, topic, 1) == [b"kept"]


async def test_a_topic_that_nobody_created_is_not_there(kafka: Kafka, topic_prefix: str) -> None:
    async with producing(kafka.address) as producer:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(producer.send_and_wait(f"{topic_prefix}typo", b""), 1)


async def test_a_killed_broker_comes_back_at_its_address_with_its_records(private_kafka: LocalKafka) -> None:
    await create_topics(private_kafka.address, "facts")
    async with producing(private_kafka.address) as producer:
        await producer.send_and_wait("facts", b"before")

    private_kafka.kill()
    assert brokers_at(private_kafka.address) == 0
    private_kafka.start()

    assert await committed(private_kafka.address, "facts", 1) == [b"before"]


async def test_a_send_waits_for_a_paused_broker_and_ends_when_it_goes_on(private_kafka: LocalKafka) -> None:
    await create_topics(private_kafka.address, "facts")
    async with producing(private_kafka.address) as producer:
        await producer.send_and_wait("facts", b"before")
        private_kafka.pause()
        sent = asyncio.ensure_future(producer.send_and_wait("facts", b"meanwhile"))
        done, _ = await asyncio.wait({sent}, timeout=1)
        assert not done

        private_kafka.resume()
        await asyncio.wait_for(sent, FETCHED_MS / 1000)

    assert await committed(private_kafka.address, "facts", 2) == [b"before", b"meanwhile"]


async def test_three_brokers_keep_working_without_one(start_kafka: Callable[[int], LocalKafka]) -> None:
    three = start_kafka(3)
    await create_topics(three.address, "facts", replicas=3)
    three.kill(2)

    async with producing(three.address) as producer:
        await asyncio.wait_for(producer.send_and_wait("facts", b"kept by two"), 30)

    assert [three.runs(broker.number) for broker in three.brokers] == [True, False, True]


def test_make_kafka_starts_a_broker_once_and_make_kafka_stop_ends_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    try:
        first = make("kafka", data)
        again = make("kafka", data)
        answering = brokers_at(first.stdout)
    finally:
        ended = make("kafka-stop", data)
    ended_again = make("kafka-stop", data)

    assert first.stdout.startswith("127.0.0.1:"), first.stderr
    assert (again.stdout, again.stderr) == (first.stdout, "kafka: running already\n")
    assert answering == 1
    assert ended.stderr == "kafka: stopped; its data stay\n"
    assert ended_again.stderr == "kafka: not running\n"
    assert brokers_at(first.stdout) == 0
