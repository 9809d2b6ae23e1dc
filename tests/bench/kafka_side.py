"""A broker of one's own for one benchmark, topics filled as the gateway fills them, and what the broker says of them.

The broker is that of `make kafka`. It shares the machine with what is measured, for ours and for peers alike, and
its CPU seconds are always told apart.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from processors.classify import Classifier
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from schemas.kafka_records import headers_of, partition_of
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from schemas.topics import BY_MESSAGE, IN_USE
from tests.bench.processes import BenchError
from tests.faults.worker_rig import topics
from tests.kafka.kafka_jars import KafkaError
from tests.kafka.local_kafka import LocalKafka

PARTITIONS: Final = 6
NORMALIZE: Final = Normalizer(Classifier.load(None))
#: Records a batch: about what a gateway under load has when the last batch of the partition is acknowledged.
_BATCH_RECORDS: Final = 64
_PER_MS: Final = 15
_READ_MS: Final = 200
_TOPICS_S: Final = 30.0
_LOOK_S: Final = 0.05

#: Key, value, headers.
Record = tuple[bytes | None, bytes, list[tuple[str, bytes]]]


class Kafka(NamedTuple):
    """A broker, and its process."""

    address: str
    pid: int


@contextmanager
def private_kafka(directory: Path) -> Iterator[Kafka]:
    """A broker with its data below `directory`, gone with the block. Raises `BenchError` if there can be none."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it tries again is no news
    try:
        local = LocalKafka.create(directory / "kafka")
        try:
            local.start()
            yield Kafka(local.address, local.brokers[0].process.pid)
        finally:
            local.kill()
    except KafkaError as error:
        raise BenchError(str(error)) from error


async def make_topics(address: str, prefix: str) -> None:
    """All that are in use, known to whoever asks from now on: who subscribes earlier is given nothing for minutes."""
    await topics(address, prefix, partitions=PARTITIONS)
    wanted = {prefix + topic.name: PARTITIONS if topic in BY_MESSAGE else 1 for topic in IN_USE}
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        async with asyncio.timeout(_TOPICS_S):
            while not all(_is_there(told, wanted) for told in await admin.describe_topics(list(wanted))):  # noqa: ASYNC110  it is the broker's to know
                await asyncio.sleep(_LOOK_S)
    finally:
        await admin.close()


def _is_there(told: dict[str, Any], wanted: Mapping[str, int]) -> bool:
    leaders = [partition["leader"] for partition in told["partitions"] if not partition["error_code"]]
    return not told["error_code"] and len(leaders) == wanted[told["topic"]] and min(leaders) >= 0


def postbacks_of(bodies: Iterable[bytes]) -> list[Postback]:
    """Bodies as the gateway took them in, 15 a millisecond, up to now."""
    receipts, kept = ReceiptIds(), list(bodies)
    start_ms = time.time_ns() // 1_000_000 - len(kept) // _PER_MS
    found = []
    for number, body in enumerate(kept):
        at_ms = start_ms + number // _PER_MS
        found.append(
            Postback("braze", "braze", KIND_POSTBACK, receipts.next(at_ms), at_ms, "application/json", "", body)
        )
    return found


def raw_records(postbacks: Iterable[Postback]) -> list[list[Record]]:
    """By partition, what the gateway writes to the raw topic."""
    key_of, lanes = KeyFinder(NORMALIZE), [list[Record]() for _ in range(PARTITIONS)]
    for postback in postbacks:
        name = key_of(postback)
        key = None if name is None else name.encode()
        lane = lanes[partition_of(key, postback.receipt_id, PARTITIONS)]
        lane.append((key, postback.body, headers_of(postback)))
    return lanes


async def fill(address: str, topic: str, lanes: Sequence[Iterable[Record]], *, batch: int = _BATCH_RECORDS) -> None:
    """Write each lane to its partition, so many records a batch; returns when all are acknowledged."""
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", enable_idempotence=True, max_batch_size=1024 * 1024
    )
    await producer.start()
    try:
        await asyncio.gather(*(_fill(producer, topic, number, lane, batch) for number, lane in enumerate(lanes)))
    finally:
        await producer.stop()


async def _fill(producer: AIOKafkaProducer, topic: str, partition: int, lane: Iterable[Record], most: int) -> None:
    records = iter(lane)
    while chunk := list(islice(records, most)):
        batch = producer.create_batch()
        for key, value, headers in chunk:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                raise BenchError(f"{topic}: {most} records of {len(value)} bytes do not fit into a batch")
        await (await producer.send_batch(batch, topic, partition=partition))


class Asked:
    """What the broker says, over connections of our own that stay open."""

    def __init__(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self._admin = admin
        self._consumer = consumer

    async def handled(self, group: str, topic: str) -> int:
        """How far a group has committed a topic, all partitions together."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:  # the broker's first group: it is making the topic for them
            return 0
        return sum(max(0, found.offset) for place, found in offsets.items() if place.topic == topic)

    async def written(self, topic: str) -> int:
        """Where a topic's partitions end, together; without transactions that is how many records it got."""
        ends = await self._consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        return sum(ends.values())

    async def forget(self, prefix: str) -> None:
        """Delete every topic that begins so: what one contender leaves is not for the next to share memory with."""
        await self._admin.delete_topics([name for name in await self._admin.list_topics() if name.startswith(prefix)])


@asynccontextmanager
async def asking(address: str) -> AsyncIterator[Asked]:
    """For the length of the block."""
    async with AsyncExitStack() as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        stack.push_async_callback(admin.close)
        consumer = AIOKafkaConsumer(bootstrap_servers=address)
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        yield Asked(admin, consumer)


async def committed_records(address: str, topic: str) -> int:
    """How many records a reader gets who takes only what is committed; reads them all."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=address, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        count = 0
        while [place for place in places if await consumer.position(place) < ends[place]]:
            count += sum(map(len, (await consumer.getmany(timeout_ms=_READ_MS)).values()))
        return count
    finally:
        await consumer.stop()
