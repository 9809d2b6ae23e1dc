"""The state of a worker is a cache: deleted, old or of another topic, it is made right from topic `status`."""

from __future__ import annotations

import asyncio
import gzip
import random
import shutil
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from processors.faust_shell.outbox import Brokers
from processors.faust_shell.recovery import recover
from processors.faust_shell.state_store import RocksStates
from processors.partition import PartitionProcessor
from schemas.identity import message_id
from schemas.kafka_outputs import state_bytes, state_of
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import StatusRecord
from schemas.topics import RAW, STATUS
from tests.faults.test_worker import rng, working
from tests.faults.worker_rig import (
    NORMALIZE,
    Empty,
    Outcome,
    Worker,
    all_handled,
    check,
    feed,
    outcome,
    postbacks,
    topics,
)
from tests.kafka.kafka_rig import Kafka, create_topics

__all__ = ["rng"]
MESSAGES = 200_000


def braze(number: int, body: object) -> Postback:
    received_ms = 1_795_248_000_000 + number
    content = orjson.dumps(body)
    return Postback("braze", "braze", KIND_POSTBACK, f"receipt-{number}", received_ms, "application/json", "", content)


def state_after(postback: Postback) -> StatusRecord:
    processor = PartitionProcessor(normalize=NORMALIZE, store=Empty())
    (state,) = processor.handle([LogRecord(0, postback)]).states.values()
    return state


async def write_status(address: str, topic: str, states: list[StatusRecord]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", max_batch_size=900_000, linger_ms=50)
    await producer.start()
    try:
        for state in states:
            await producer.send(topic, state_bytes(state), key=state["message_id"].encode(), partition=0)
    finally:
        await producer.stop()


def last_states(found: Outcome) -> dict[str, StatusRecord]:
    return {
        (record.key or b"").decode(): state_of(record.value or b"")
        for records in found.status.values()
        for record in records
    }


@pytest.mark.timeout(180)
async def test_200_000_messages_are_recovered_and_gone_on_from(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    template = state_after(braze(0, {"dispatch_id": "d", "status": "sent"}))
    ids = [message_id("braze", f"d{number}", None) for number in range(MESSAGES)]
    states: list[StatusRecord] = [
        {**template, "message_id": ids[number], "dispatch_id": f"d{number}"} for number in range(MESSAGES)
    ]
    await write_status(kafka.address, f"{topic_prefix}{STATUS.name}", states)
    worker = Worker(kafka.address, topic_prefix, tmp_path)
    chosen = range(0, MESSAGES, 997)
    async with working(worker):
        assert await recovered(worker) == MESSAGES
        sent = [braze(number, {"dispatch_id": f"d{number}", "status": "delivered"}) for number in chosen]
        await feed(kafka.address, topic_prefix, sent)
        found = last_states(await all_handled(kafka.address, topic_prefix, count=len(sent)))

        assert await worker.stop() == 0
        shutil.rmtree(tmp_path / "worker" / "0")
        await worker.start()
        assert await recovered(worker) == MESSAGES + len(sent)
        assert await worker.stop() == 0
        await worker.start()
        assert await recovered(worker) == 0

    for number in chosen:
        state = found[ids[number]]
        assert (state["status"], state["version"], len(state["facts"])) == ("delivered", 2, 2)


async def recovered(worker: Worker) -> int:
    processes = (await worker.state())["processes"]
    assert isinstance(processes, list)
    return sum(partition["recovered"] for each in processes for partition in each["partitions"].values())


@pytest.mark.timeout(180)
async def test_a_state_directory_older_than_the_topic_is_brought_up_to_it(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(3_000, rng)
    data, old = tmp_path / "data", tmp_path / "old"
    await topics(kafka.address, topic_prefix, partitions=2)
    worker = Worker(kafka.address, topic_prefix, data)
    async with working(worker):
        for start in (0, 1_000, 2_000):
            await feed(kafka.address, topic_prefix, sent[start : start + 1_000 if start < 2_000 else None])
            await all_handled(kafka.address, topic_prefix, count=min(start + 1_000, len(sent)))
            assert await worker.stop() == 0
            if start == 0:
                shutil.copytree(data / "worker", old)
            elif start == 1_000:
                shutil.rmtree(data / "worker")
                shutil.copytree(old, data / "worker")
            await worker.start()
        check(await all_handled(kafka.address, topic_prefix, count=len(sent)))


@pytest.mark.timeout(120)
async def test_state_of_another_topic_and_torn_files_are_made_anew(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(1_000, rng)
    for number in range(2):
        await topics(kafka.address, f"{topic_prefix}{number}.", partitions=1)
    async with working(first := Worker(kafka.address, f"{topic_prefix}0.", tmp_path)):
        await feed(kafka.address, f"{topic_prefix}0.", sent)
        await all_handled(kafka.address, f"{topic_prefix}0.", count=len(sent))
        assert await first.stop() == 0
    async with working(second := Worker(kafka.address, f"{topic_prefix}1.", tmp_path)):
        assert "the state here is of another topic" in second.said
        await feed(kafka.address, f"{topic_prefix}1.", sent)
        await all_handled(kafka.address, f"{topic_prefix}1.", count=len(sent))
        assert await second.stop() == 0
    (tmp_path / "worker/0/partition-0/state/CURRENT").write_text("torn")
    async with working(third := Worker(kafka.address, f"{topic_prefix}1.", tmp_path)):
        assert "cannot be read, it is made anew" in third.said
        check(await outcome(kafka.address, f"{topic_prefix}1."))
        assert await recovered(third) > 0


@pytest.mark.timeout(90)
async def test_a_state_too_large_for_a_record_makes_its_postback_a_dead_letter(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(200, rng, garbage=0)
    huge = gzip.compress(b'{"status": "sent", "dispatch_id": "%s"}' % (b"d" * 1_500_000))
    sent.insert(100, sent[0]._replace(body=huge, content_encoding="gzip", receipt_id="huge"))
    await topics(kafka.address, topic_prefix, partitions=2)
    async with working(Worker(kafka.address, topic_prefix, tmp_path)):
        await feed(kafka.address, topic_prefix, sent)
        found = await all_handled(kafka.address, topic_prefix, count=len(sent))

    check(found, refused=frozenset([huge]))
    (dead,) = [one for records in found.dead.values() for one in records]
    assert (dict(dead.headers)["reason"], dead.value) == (b"processing_error", huge)


@pytest.mark.timeout(120)
async def test_for_a_group_the_broker_has_forgotten_the_receipts_tell_where_to_go_on(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(1_000, rng)
    await topics(kafka.address, topic_prefix, partitions=2)
    forgotten = Brokers(addresses=(kafka.address,), topic_prefix=topic_prefix, group=f"{topic_prefix}forgotten")

    async def told(partition: int) -> int | None:
        states = RocksStates(tmp_path / f"state-{partition}")
        found = await recover(states, forgotten, partition, progressed=lambda: None)
        states.close()
        return found.raw_offset

    assert [await told(partition) for partition in range(2)] == [None, None]
    async with working(Worker(kafka.address, topic_prefix, tmp_path)):
        await feed(kafka.address, topic_prefix, sent)
        found = await all_handled(kafka.address, topic_prefix, count=len(sent))
    assert [await told(partition) for partition in range(2)] == [len(found.raw[partition]) for partition in range(2)]


@pytest.mark.timeout(120)
async def test_a_raw_topic_that_was_made_anew_is_handled_from_its_beginning(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, rng: random.Random
) -> None:
    sent = postbacks(1_000, rng)
    await topics(kafka.address, topic_prefix, partitions=1)
    async with working(worker := Worker(kafka.address, topic_prefix, tmp_path)):
        await feed(kafka.address, topic_prefix, sent)
        await all_handled(kafka.address, topic_prefix, count=len(sent))
        assert await worker.stop() == 0
        await make_anew(kafka.address, f"{topic_prefix}{RAW.name}")
        await worker.start()
        assert "it was made anew, or cut off" in worker.said
        again = [each._replace(receipt_id=f"{each.receipt_id}-again") for each in sent[:100]]
        await feed(kafka.address, topic_prefix, again)
        await all_handled(kafka.address, topic_prefix, count=len(sent) + len(again))


async def make_anew(address: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while topic in await admin.list_topics():  # noqa: ASYNC110  nobody tells us when it is gone
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
    await create_topics(address, topic)
