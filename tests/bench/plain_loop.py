"""The peer of `sendtrace worker`: the shortest aiokafka program that does the same work.

The same `PartitionProcessor`, slices and outputs; batches ready made, acks=all, offsets committed once everything
is acknowledged. States are in a dictionary and die with it: no transactions, no fencing, no recovery, no rebalance,
nothing set aside. Killed, it writes again what it wrote; what it wrote of states is lost to it.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, RecordMetadata

from processors.classify import Classifier
from processors.faust_shell.fold import SLICE_BYTES
from processors.faust_shell.raw_records import log_record_of
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.tallies import Tallies
from schemas.kafka_outputs import Output, outputs_of, state_of, tally_output
from schemas.records import StatusRecord
from schemas.topics import DEAD, FAILURES, RAW, RECEIPTS, STATUS, TALLIES, TRANSITIONS
from sendtrace.kept_running import GC_THRESHOLDS
from sendtrace.worker_process import _CACHED_MESSAGES

#: Topics with the partitions of the raw topic.
_OWN: Final = (TRANSITIONS, STATUS, RECEIPTS)
#: Of the other topics, which have one.
_THE_PARTITION: Final = 0
_BATCH_BYTES: Final = 960 * 1024
_FETCH_BYTES: Final = 1024 * 1024
_POLL_MS: Final = 200

Fetched = ConsumerRecord[bytes, bytes]


@dataclass(frozen=True, slots=True)
class PlainTask:
    """Where to work; the topics are the catalogue's behind `prefix`."""

    address: str
    prefix: str
    group: str


class ValuesStore:
    """States as they were written; a `StateStore`."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        found = {name: self.values.get(name.encode()) for name in message_ids}
        return {name: state_of(value) for name, value in found.items() if value is not None}


class Partition:
    """One partition's states, and the batches to be sent for it."""

    def __init__(self, number: int, producer: AIOKafkaProducer, task: PlainTask) -> None:
        self._number = number
        self._producer = producer
        self._prefix = task.prefix
        self._store = ValuesStore()
        self._tallies = Tallies()
        self._processor = PartitionProcessor(
            normalize=Normalizer(Classifier.load(None)), store=self._store, cached_messages=_CACHED_MESSAGES
        )

    async def handle(self, records: Sequence[Fetched]) -> list[asyncio.Future[RecordMetadata]]:
        """Fold them and hand everything to the producer; the acknowledgements."""
        outputs = defaultdict[tuple[str, int], list[Output]](list)
        for part in _slices(records):
            batch = self._processor.handle([log_record_of(record) for record in part])
            made = outputs_of(batch, partition=self._number, next_offset=part[-1].offset + 1)
            self._store.values.update((key or b"", value) for key, value, _ in made.status)
            self._tallies.add(batch)
            for topic, some in zip(_OWN, (made.transitions, made.status, made.receipts), strict=True):
                outputs[topic.name, self._number] += some
            outputs[DEAD.name, _THE_PARTITION] += made.dead
            outputs[FAILURES.name, _THE_PARTITION] += made.failures
            await asyncio.sleep(0)  # fetching and sending go on beside it
        outputs[TALLIES.name, _THE_PARTITION] += map(tally_output, self._tallies.take())
        return [sent for place, some in outputs.items() for sent in await self._send(*place, some)]

    async def _send(
        self, topic: str, partition: int, outputs: Sequence[Output]
    ) -> list[asyncio.Future[RecordMetadata]]:
        sent, batch = [], self._producer.create_batch()
        for key, value, headers in outputs:
            if batch.size() + len(value) > _BATCH_BYTES:
                sent.append(await self._producer.send_batch(batch, self._prefix + topic, partition=partition))
                batch = self._producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
        if batch.record_count():
            sent.append(await self._producer.send_batch(batch, self._prefix + topic, partition=partition))
        return sent


def _slices(records: Sequence[Fetched]) -> Iterator[list[Fetched]]:
    part: list[Fetched] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record.value or b"")
        if size >= SLICE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


async def _loop(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, task: PlainTask) -> None:
    partitions: dict[int, Partition] = {}
    while True:
        fetched = await consumer.getmany(timeout_ms=_POLL_MS)
        sent: list[asyncio.Future[RecordMetadata]] = []
        for place, records in fetched.items():
            number = place.partition
            if number not in partitions:
                partitions[number] = Partition(number, producer, task)
            sent += await partitions[number].handle(records)
        await asyncio.gather(*sent)
        if fetched:
            await consumer.commit({place: records[-1].offset + 1 for place, records in fetched.items()})


async def _run(task: PlainTask) -> None:
    consumer = AIOKafkaConsumer(
        task.prefix + RAW.name,
        bootstrap_servers=task.address,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=task.address, acks="all", enable_idempotence=True, max_batch_size=1024 * 1024
    )
    await producer.start()
    await consumer.start()
    print("{}", flush=True)
    working = asyncio.ensure_future(_loop(consumer, producer, task))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    await asyncio.wait([working])
    await consumer.stop()
    await producer.stop()
    if not working.cancelled():
        working.result()


def main(argument: str) -> None:
    """`python -m tests.bench.plain_loop TASK`, as JSON; until SIGTERM."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(_run(PlainTask(**orjson.loads(argument))))


if __name__ == "__main__":
    main(sys.argv[1])
