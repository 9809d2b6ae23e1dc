"""Topics as gateway and worker leave them, for what reads them: real records, real transactions, one small producer.

Bodies go onto `raw` as the gateway puts them there; `Feeder.handle` is a worker without its driver: it folds
what lies on `raw` with the real processor and writes the real outputs in one transaction, or aborts it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ingest.kafka_log import end_producer
from processors.classify import Classifier
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from processors.partition import Normalize, PartitionProcessor
from schemas.batch import Batch
from schemas.kafka_outputs import Output, outputs_of, raw_position
from schemas.kafka_records import headers_of, partition_of, postback_of
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.receipts import ReceiptIds
from schemas.records import Transition
from schemas.topics import DEAD, IN_USE, RAW, RECEIPTS, STATUS, TRANSITIONS, Topic
from sinks.tables.changes import Retention, TablesWriter
from sinks.tables.kafka_sink import KafkaSink
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.sqlite_writer import STATE_COLUMNS, SqliteTables
from tests.integration.read_rig import MIDNIGHT_MS, Sent
from tests.kafka.kafka_rig import create_topics

NORMALIZE: Final = Normalizer(Classifier.load(None))
KEY_OF: Final = KeyFinder(NORMALIZE)
PARTITIONS: Final = 2
_DEAD_PARTITIONS: Final = 1
PATIENCE_S: Final = 20.0


async def make_topics(address: str, prefix: str, *, status: dict[str, str] | None = None) -> None:
    """All topics in use; `status` are settings of that one."""
    by_message = [prefix + topic.name for topic in IN_USE if topic not in {DEAD, STATUS}]
    await create_topics(address, *by_message, partitions=PARTITIONS)
    compacted = {"cleanup.policy": "compact", **(status or {})}
    await create_topics(address, prefix + STATUS.name, partitions=PARTITIONS, settings=compacted)
    await create_topics(address, prefix + DEAD.name, partitions=_DEAD_PARTITIONS)


class Feeder:
    """Gateway and worker in one. `expected` are tables written by the embedded pipeline's own writer."""

    def __init__(self, address: str, prefix: str, directory: Path) -> None:
        self._address = address
        self._prefix = prefix
        self.expected_path = directory / "expected.db"
        self._expected = SqliteTables(self.expected_path)
        self._ids = ReceiptIds()
        self._now_ms = MIDNIGHT_MS
        self._next = dict.fromkeys(range(PARTITIONS), 0)
        self._dead: set[str] = set()
        self._unhandled: dict[int, list[LogRecord]] = {number: [] for number in range(PARTITIONS)}

    async def start(self) -> None:
        """Connect."""
        self._gateway = AIOKafkaProducer(bootstrap_servers=self._address, acks="all", enable_idempotence=True)
        self._worker = AIOKafkaProducer(
            bootstrap_servers=self._address, transactional_id=f"{self._prefix}feeder", acks="all"
        )
        await self._gateway.start()
        await self._worker.start()

    async def stop(self) -> None:
        """Hang up, whatever is under way."""
        self._expected.close()
        await end_producer(self._gateway)
        await end_producer(self._worker)

    async def keep(self, *sent: Sent) -> list[Postback]:
        """Put postbacks onto the raw topic, a minute apart."""
        postbacks = list(map(self._received, sent))
        await self.put(*postbacks)
        return postbacks

    async def put(self, *postbacks: Postback) -> None:
        """The same for postbacks as they are, perhaps not for the first time."""
        for postback in postbacks:
            name = KEY_OF(postback)
            key = None if name is None else name.encode()
            partition = partition_of(key, postback.receipt_id, PARTITIONS)
            sent = await self._gateway.send_and_wait(
                *(self._prefix + RAW.name, postback.body),
                key=key,
                partition=partition,
                headers=headers_of(postback),
            )
            self._see(partition, sent.offset, postback)

    async def look(self) -> int:
        """Fetch what somebody else put onto the raw topic; the number of records."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self._address)
        await consumer.start()
        places = [TopicPartition(self._prefix + RAW.name, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        for place in places:
            consumer.seek(place, self._next[place.partition])
        found = await consumer.getmany(timeout_ms=200)
        await consumer.stop()
        for place, records in found.items():
            for record in records:
                self._see(place.partition, record.offset, postback_of(record.headers, record.value))
        return sum(map(len, found.values()))

    def _see(self, partition: int, offset: int, postback: Postback) -> None:
        self._unhandled[partition].append(LogRecord(offset, postback))
        self._next[partition] = offset + 1

    async def handle(
        self, *, normalize: Normalize = NORMALIZE, leave_out: Collection[Topic] = ()
    ) -> list[tuple[int, Output]]:
        """Fold all that is new on `raw`, a transaction a partition. Gives what was left out, by partition.

        `expected` are of use as long as no body is handled twice.
        """
        left_out = []
        for partition, records in self._unhandled.items():
            if records:
                batch = PartitionProcessor(normalize=normalize, store=self._expected).handle(records)
                end = records[-1].position + 1
                self._unhandled[partition] = []
                outputs = await self._write(partition, batch, end, leave_out=leave_out)
                left_out += [(partition, output) for output in outputs]
                new_dead = [dead for dead in batch.dead if dead.record.postback.receipt_id not in self._dead]
                self._dead |= {dead.record.postback.receipt_id for dead in new_dead}
                self._expected.commit(_placed(batch._replace(dead=new_dead), partition), end, partition)
        return left_out

    async def abort(self) -> None:
        """Fold and write the same, and take it back: it is still to be handled."""
        for partition, records in self._unhandled.items():
            if records:
                batch = PartitionProcessor(normalize=NORMALIZE, store=self._expected).handle(records)
                await self._write(partition, batch, records[-1].position + 1, abort=True)

    async def send(
        self,
        topic: Topic,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """One record of somebody else's."""
        name = self._prefix + topic.name
        await self._gateway.send_and_wait(name, value, key=key, partition=partition, headers=list(headers))

    async def _write(
        self, partition: int, batch: Batch, end: int, *, leave_out: Collection[Topic] = (), abort: bool = False
    ) -> list[Output]:
        """One transaction, as the worker writes it, but for what is left out."""
        left_out: list[Output] = []
        outputs = outputs_of(batch, partition=partition, next_offset=end)
        await self._worker.begin_transaction()
        for topic, some, place in (
            (TRANSITIONS, outputs.transitions, partition),
            (STATUS, outputs.status, partition),
            (RECEIPTS, outputs.receipts, partition),
            (DEAD, outputs.dead, 0),
        ):
            if topic in leave_out:
                left_out += some
            else:
                await self._send(topic.name, some, place)
        await (self._worker.abort_transaction() if abort else self._worker.commit_transaction())
        return left_out

    async def _send(self, topic: str, outputs: Sequence[Output], partition: int) -> None:
        sent = [
            await self._worker.send(
                self._prefix + topic, value=one.value, key=one.key, headers=one.headers, partition=partition
            )
            for one in outputs
        ]
        await asyncio.gather(*sent)

    def _received(self, one: Sent) -> Postback:
        self._now_ms += 60_000
        return Postback(
            *(one.source, one.provider, KIND_POSTBACK, self._ids.next(self._now_ms), self._now_ms),
            *(one.content_type, one.content_encoding, one.body),
        )


def _placed(batch: Batch, partition: int) -> Batch:
    """The batch with places on the raw topic for positions, as the sink's tables have them."""
    return batch._replace(
        receipts=[one._replace(record=_placed_record(one.record, partition)) for one in batch.receipts],
        dead=[one._replace(record=_placed_record(one.record, partition)) for one in batch.dead],
    )


def _placed_record(record: LogRecord, partition: int) -> LogRecord:
    return LogRecord(raw_position(partition, record.position), record.postback)


@asynccontextmanager
async def feeding(address: str, prefix: str, directory: Path) -> AsyncIterator[Feeder]:
    """A feeder on topics that are there."""
    feeder = Feeder(address, prefix, directory)
    await feeder.start()
    try:
        yield feeder
    finally:
        await feeder.stop()


def rows(path: Path, select: str) -> list[tuple[Any, ...]]:
    """What a query finds in a file of tables."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(select).fetchall()


#: Every table and view, in the order of their content: numbers of rows differ with the order of partitions.
EVERYTHING: Final = {
    "messages": f"SELECT {', '.join(STATE_COLUMNS)} FROM messages ORDER BY message_id",  # noqa: S608  names of ours
    "transitions": f"SELECT {', '.join(Transition.__annotations__)} FROM transitions ORDER BY transition_id",  # noqa: S608  the same
    "postbacks": "SELECT position, receipt_id, message_id, p.received_at, content_type, effect, flags "
    "FROM postbacks AS p LEFT JOIN messages AS m ON m.seq = message_seq ORDER BY position",
    "identifiers": "SELECT identifier, message_id FROM identifiers JOIN messages ON seq = message_seq ORDER BY 1, 2",
    "dead_letters": "SELECT * FROM dead_letters ORDER BY position",
    "audit": "SELECT source, hour, applied, duplicates, dead FROM audit ORDER BY source, hour",
}


def everything(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Table → its rows."""
    return {name: rows(path, select) for name, select in EVERYTHING.items()}


class Sink:
    """The sink in this process, on a file of tables; entered and left as often as one likes."""

    def __init__(self, address: str, prefix: str, path: Path) -> None:
        self.path = path
        self._options = (tuple(address.split(",")), prefix)

    @asynccontextmanager
    async def running(
        self,
        open_writer: Callable[[], TablesWriter] | None = None,
        *,
        retention: Callable[[], Retention] | None = None,
    ) -> AsyncIterator[KafkaSink]:
        """Until the block ends."""
        brokers, prefix = self._options
        opened = open_writer or (lambda: SqliteSink(self.path))
        sink = KafkaSink(brokers=brokers, prefix=prefix, open_writer=opened, retention=retention)
        task = asyncio.get_running_loop().create_task(sink.run())
        try:
            yield sink
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def has(self, count: int, table: str = "postbacks") -> None:
        """Wait until a table has so many rows, and what belongs to them has come after them: other topics are read
        for themselves, so a message's receipts may be there a moment before its transitions."""
        await until(lambda: self._count(table) == count, f"{count} rows in {table}")
        before = -1
        while (now := self._count("transition_log")) != before:
            before = now
            await asyncio.sleep(0.25)

    def _count(self, table: str) -> int:
        try:
            return int(rows(self.path, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608  a name of ours
        except sqlite3.OperationalError:  # not made yet
            return -1


async def until(true: Callable[[], bool], what: str = "it", within_s: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110  nobody tells us when it is
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None
