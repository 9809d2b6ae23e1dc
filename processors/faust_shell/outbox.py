"""Everything a batch puts out and how far its input is handled, in one Kafka transaction: all of it or nothing.

Each raw partition has a transactional producer of its own. Starting it fences whoever wrote the
partition before and ends what that one left open, so a worker that was frozen or cut off cannot write
old state over new, and a transaction that was killed in the middle holds nobody up for longer than it
takes to be replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata, TopicPartition

from schemas.kafka_outputs import Output, Outputs, tally_output
from schemas.kafka_records import partition_of
from schemas.tallies import Tally
from schemas.topics import DEAD, FAILURES, RAW, RECEIPTS, STATUS, TALLIES, TRANSITIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """Where the topics are. `group` names the consumer group and, with topic and partition, the transactions.

    `record_bytes` is the largest record there can be: a dead letter with the largest body the gateway takes.
    """

    addresses: tuple[str, ...]
    topic_prefix: str
    group: str
    record_bytes: int = 1024 * 1024
    transaction_timeout_s: float = 20.0
    request_timeout_s: float = 10.0

    def topic(self, name: str) -> str:
        """A topic of the catalogue under its full name."""
        return f"{self.topic_prefix}{name}"


#: After which a request is tried again that a broker could not take yet.
_RETRY_BACKOFF_MS: Final = 10
#: The same for the first request of a transaction: the broker refuses it while it still writes the last one's end,
#: which takes a millisecond or two. Up to half of them are refused under a steady load, so this is latency.
_NEXT_TRANSACTION_S: Final = 0.002
#: A client waits for a broker that is away as long as it takes; who is told to leave cannot.
_CLOSE_S: Final = 5.0
#: A broker takes a batch of a megabyte unless told otherwise; a larger one is a single dead letter.
_BATCH_BYTES: Final = 960 * 1024
#: About what the headers and the key of a record may take.
_HEADERS_BYTES: Final = 20 * 1024


# aiokafka has no setting for it; what the name does is held by `tests/contract/test_aiokafka_names.py`. It is of the
# module, so of every transactional producer in this process: those are all ours.
sender.BACKOFF_OVERRIDE = _NEXT_TRANSACTION_S


class RecordTooLargeError(RuntimeError):
    """A dead letter larger than this worker was told there could be; the text says which setting to raise."""


class _Tray:
    """The batches one transaction writes to one partition of one topic: as few as they fit into."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int, most_bytes: int) -> None:
        self.topic = topic
        self._most_bytes = most_bytes
        self.partition = partition
        self.full: list[tuple[BatchBuilder, int]] = []
        self._producer = producer
        self._batch: BatchBuilder | None = None
        self._count = 0

    def add(self, outputs: Iterable[Output]) -> None:
        for key, value, headers in outputs:
            if len(value) + _HEADERS_BYTES > self._most_bytes:
                raise RecordTooLargeError(
                    f"{self.topic}: a record of {len(value)} bytes does not fit; set gateway.limits.body_bytes to what"
                    " the gateway has"
                )
            batch = self._batch
            if batch is None or batch.size() + len(value) > _BATCH_BYTES:
                self._next()
                batch = self._batch = self._producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)  # the first whatever its size
            self._count += 1

    def take(self) -> list[tuple[BatchBuilder, int]]:
        """Each with the number of its records; the tray is empty after it."""
        self._next()
        taken, self.full = self.full, []
        return taken

    def _next(self) -> None:
        if self._batch is not None and self._count:
            self.full.append((self._batch, self._count))
        self._batch, self._count = None, 0


class _KeyedTrays:
    """Those of a topic whose records lie where their key says."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, most_bytes: int) -> None:
        self._producer = producer
        self._topic = topic
        self._most_bytes = most_bytes
        self._trays: list[_Tray] = []

    async def open(self) -> None:
        partitions = await self._producer.partitions_for(self._topic)
        self._trays = [
            _Tray(self._producer, self._topic, partition, self._most_bytes) for partition in range(len(partitions))
        ]

    def add(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            self._trays[partition_of(output.key, "", len(self._trays))].add([output])

    def __iter__(self) -> Iterator[_Tray]:
        return iter(self._trays)


class Outbox:
    """Writes for one raw partition. Raises what aiokafka raises; then nothing more can be written with it."""

    def __init__(self, brokers: Brokers, partition: int) -> None:
        self._brokers = brokers
        self._partition = partition
        self._raw = TopicPartition(brokers.topic(RAW.name), partition)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=list(brokers.addresses),
            transactional_id=f"{brokers.group}-{RAW.name}-{partition}",
            transaction_timeout_ms=round(brokers.transaction_timeout_s * 1000),
            request_timeout_ms=round(brokers.request_timeout_s * 1000),
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            max_batch_size=brokers.record_bytes,
            max_request_size=brokers.record_bytes,
        )
        self._status, self._transitions, self._dead, self._receipts = (
            _Tray(self._producer, brokers.topic(topic.name), partition, brokers.record_bytes)
            for topic in (STATUS, TRANSITIONS, DEAD, RECEIPTS)
        )
        self._failures, self._tallies = (
            _KeyedTrays(self._producer, brokers.topic(topic.name), brokers.record_bytes)
            for topic in (FAILURES, TALLIES)
        )

    async def open(self) -> None:
        """Fence the partition's last writer. From here on what it wrote is final."""
        await self._producer.start()
        dead = await self._producer.partitions_for(self._dead.topic)
        self._dead.partition = self._partition % len(dead)
        await self._failures.open()
        await self._tallies.open()

    def put(self, outputs: Outputs) -> None:
        """Into the next transaction."""
        self._status.add(outputs.status)
        self._transitions.add(outputs.transitions)
        self._dead.add(outputs.dead)
        self._receipts.add(outputs.receipts)
        self._failures.add(outputs.failures)

    def put_tallies(self, tallies: Iterable[Tally]) -> None:
        """Into the next transaction: one record for each campaign and batch."""
        self._tallies.add(tally_output(tally) for tally in tallies)

    async def commit(self, next_offset: int) -> int | None:
        """Write what was put in, and that the raw partition is handled up to `next_offset`.

        Returns where topic `status` goes on after what was written to it; `None` if nothing was.
        """
        producer = self._producer
        await producer.begin_transaction()
        # First all the batches, so that their partitions join the transaction with one request.
        status = await self._send(self._status)
        trays = (self._transitions, self._dead, self._receipts, *self._failures, *self._tallies)
        others = [sent for tray in trays for sent in await self._send(tray)]
        await producer.send_offsets_to_transaction({self._raw: next_offset}, self._brokers.group)
        ends = [(await acknowledged).offset + count for acknowledged, count in status]
        for acknowledged, _ in others:
            await acknowledged
        await producer.commit_transaction()
        return ends[-1] if ends else None

    async def close(self) -> None:
        """Leave, in bounded time. What is under way is for the next owner to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._producer.stop()

    async def _send(self, tray: _Tray) -> list[tuple[asyncio.Future[RecordMetadata], int]]:
        sent = []
        for batch, count in tray.take():
            acknowledged = await self._producer.send_batch(batch, tray.topic, partition=tray.partition)
            acknowledged.add_done_callback(_seen)
            sent.append((acknowledged, count))
        return sent


def _seen(acknowledged: asyncio.Future[RecordMetadata]) -> None:
    """One failed batch ends the transaction: nobody asks for the others' errors, and asyncio is not to complain."""
    if not acknowledged.cancelled():
        acknowledged.exception()
