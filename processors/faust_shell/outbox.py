"""Everything a batch puts out and how far its input is handled, in one Kafka transaction: all of it or nothing.

Each raw partition has a transactional producer of its own. Starting it fences whoever wrote the
partition before and ends what that one left open, so a worker that was frozen or cut off cannot write
old state over new, and a transaction that was killed in the middle holds nobody up for longer than it
takes to be replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata, TopicPartition

from processors.faust_shell.fold import Folded
from schemas.kafka_outputs import Output
from schemas.topics import DEAD, RAW, RECEIPTS, STATUS, TRANSITIONS


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


#: The broker says "try again" while it still writes the last commit, which takes milliseconds.
_RETRY_BACKOFF_MS: Final = 10
#: A broker takes a batch of a megabyte unless told otherwise; a larger one is a single dead letter.
_BATCH_BYTES: Final = 960 * 1024


class RecordTooLargeError(RuntimeError):
    """A dead letter larger than this worker was told there could be; the text says which setting to raise."""


class Outbox:
    """Writes for one raw partition. Raises what aiokafka raises; then nothing more can be written with it."""

    def __init__(self, brokers: Brokers, partition: int) -> None:
        self._brokers = brokers
        self._partition = partition
        self._raw = TopicPartition(brokers.topic(RAW.name), partition)
        self._dead_partition = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=list(brokers.addresses),
            transactional_id=f"{brokers.group}-{RAW.name}-{partition}",
            transaction_timeout_ms=round(brokers.transaction_timeout_s * 1000),
            request_timeout_ms=round(brokers.request_timeout_s * 1000),
            retry_backoff_ms=_RETRY_BACKOFF_MS,
            max_batch_size=brokers.record_bytes,
            max_request_size=brokers.record_bytes,
        )

    async def open(self) -> None:
        """Fence the partition's last writer. From here on what it wrote is final."""
        await self._producer.start()
        dead = await self._producer.partitions_for(self._brokers.topic(DEAD.name))
        self._dead_partition = self._partition % len(dead)

    async def write(self, folded: Folded, next_offset: int) -> int | None:
        """Returns where topic `status` goes on after what was written to it; `None` if nothing was."""
        producer = self._producer
        await producer.begin_transaction()
        written = await self._send(STATUS.name, self._partition, folded.status.values())
        others = [
            *await self._send(TRANSITIONS.name, self._partition, folded.transitions),
            *await self._send(DEAD.name, self._dead_partition, folded.dead),
            *await self._send(RECEIPTS.name, self._partition, folded.receipts),
        ]
        await producer.send_offsets_to_transaction({self._raw: next_offset}, self._brokers.group)
        ends = [base.offset + count for base, count in await _acknowledged(written)]
        await _acknowledged(others)
        await producer.commit_transaction()
        return ends[-1] if ends else None

    async def close(self) -> None:
        """Leave. What is under way is for the next owner to end."""
        await self._producer.stop()

    async def _send(self, name: str, partition: int, outputs: Iterable[Output]) -> list[_Sent]:
        """As few batches as they fit into, under way."""
        topic = self._brokers.topic(name)
        producer = self._producer
        sent: list[_Sent] = []
        batch, count = producer.create_batch(), 0
        for key, value, headers in outputs:
            if count and batch.size() + len(value) > _BATCH_BYTES:
                sent.append((await producer.send_batch(batch, topic, partition=partition), count))
                batch, count = producer.create_batch(), 0
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                raise RecordTooLargeError(
                    f"{topic}: a record of {len(value)} bytes does not fit; set gateway.limits.body_bytes to what"
                    " the gateway has"
                )
            count += 1
        if count:
            sent.append((await producer.send_batch(batch, topic, partition=partition), count))
        return sent


_Sent = tuple["asyncio.Future[RecordMetadata]", int]


async def _acknowledged(sent: Sequence[_Sent]) -> list[tuple[RecordMetadata, int]]:
    return [(await future, count) for future, count in sent]
