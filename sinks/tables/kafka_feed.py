"""The topics of the worker as the tables sink reads them: all partitions, committed records only, no group.

Offsets lie with the tables. Refuses to have a topic made by asking for it, and to go on from an
offset that the broker does not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from schemas.topics import BY_MESSAGE, RAW, STATUS
from sinks.tables.kafka_chunk import SUNK, Chunk
from sinks.tables.kafka_raw import RawCounter

REQUEST_S: Final = 5.0
#: With these a fetch holds at most about as many bytes for each partition, or one batch if that is larger.
_PARTITION_FETCH_BYTES: Final = 512 * 1024
_RECORDS_A_CHUNK: Final = 2_000
_FETCH_WAIT_MS: Final = 100
_TOPICS: Final = (RAW.name, *SUNK)

#: (topic without its prefix, partition) → offset.
Offsets = dict[tuple[str, int], int]

_log = logging.getLogger(__name__)


class FeedError(Exception):
    """The topics are not as they must be; the text is one line for a person. It may mend, so it is tried again."""


def told(brokers: Sequence[str], error: Exception) -> str:
    """What is wrong, for a person, without the client's inner words."""
    names = ", ".join(brokers)
    if isinstance(error, TimeoutError | KafkaTimeoutError):
        return f"{names}: no answer within {REQUEST_S:g} s"
    if isinstance(error, KafkaConnectionError | OSError):
        return f"{names}: no broker answers"
    return str(error) if isinstance(error, FeedError) else f"{names}: {type(error).__name__}: {error}"


class Reading:
    """All partitions of some topics, read by one consumer from positions that somebody else keeps. Used by one task."""

    def __init__(self, consumer: AIOKafkaConsumer, prefix: str, partitions: Mapping[str, int]) -> None:
        self.places = [
            TopicPartition(prefix + name, number) for name in partitions for number in range(partitions[name])
        ]
        self._consumer = consumer
        self._prefix = prefix

    async def seek(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Go there, or to the beginning; what retention has removed since is told. Raises `FeedError`."""
        self._consumer.assign(self.places)
        begins = await self._consumer.beginning_offsets(self.places)
        ends = await self._consumer.end_offsets(self.places)
        for place in self.places:
            at = positions.get(self.named(place), begins[place])
            if at > ends[place]:
                raise FeedError(
                    f"{place.topic}: partition {place.partition} ends at {ends[place]}, before what the tables have of"
                    f" it ({at}): the topic was made anew; give the sink other tables"
                )
            if at < begins[place]:
                lost = begins[place] - at
                _log.error("the retention of %s has removed %d offsets before they were read", place.topic, lost)
            self._consumer.seek(place, max(at, begins[place]))

    async def fetch(
        self, *, wait_ms: int, topic: str | None = None, but: Collection[tuple[str, int]] = ()
    ) -> list[tuple[tuple[str, int], list[ConsumerRecord[bytes, bytes]]]]:
        """What there is, by topic and partition, waiting so long for the first record.

        Of one topic only if it is named, and of all places but these; one is left at least.
        """
        places = [place for place in self._of(topic) if self.named(place) not in but]
        found = await self._consumer.getmany(*places, timeout_ms=wait_ms, max_records=_RECORDS_A_CHUNK)
        return [(self.named(place), records) for place, records in found.items()]

    async def positions(self, topic: str | None = None) -> Offsets:
        """Where the next fetch begins; transaction markers and compacted offsets before it are passed."""
        return {self.named(place): await self._consumer.position(place) for place in self._of(topic)}

    async def ends(self) -> Offsets:
        """Where every topic ends now, for this consumer."""
        return {self.named(place): end for place, end in (await self._consumer.end_offsets(self.places)).items()}

    def named(self, place: TopicPartition) -> tuple[str, int]:
        """As positions name it."""
        return place.topic.removeprefix(self._prefix), place.partition

    def _of(self, topic: str | None) -> list[TopicPartition]:
        return [place for place in self.places if topic is None or place.topic == self._prefix + topic]


class Feed:
    """The consumers, at the positions of the tables. Used by one task.

    `committed` reads what workers wrote, `raw` what the gateway did; `everything` is only asked for ends.
    """

    def __init__(
        self,
        prefix: str,
        partitions: Mapping[str, int],
        *,
        committed: AIOKafkaConsumer,
        raw: AIOKafkaConsumer,
        everything: AIOKafkaConsumer,
    ) -> None:
        self._prefix = prefix
        self._raw = raw
        self._everything = everything
        self._sunk = Reading(committed, prefix, {name: partitions[name] for name in SUNK})
        self._raws = Reading(raw, prefix, {RAW.name: partitions[RAW.name]})
        self.raw_next: dict[int, int] = {}
        self._raw_ends: dict[int, int] = {}
        self._counter: RawCounter | None = None

    async def seek(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Go to where the tables are; what retention has removed since is told. Raises `FeedError`."""
        await self._sunk.seek(positions)
        self._raw.assign(self._raws.places)
        self.raw_next = {place.partition: positions.get(self._raws.named(place), 0) for place in self._raws.places}
        self._counter = RawCounter(self._raw, self._prefix + RAW.name, self.raw_next)

    async def fetch(self, chunk: Chunk, *, only_status: bool = False, wait_ms: int) -> None:
        """Add what there is, waiting so long for the first record."""
        for (topic, _), records in await self._sunk.fetch(wait_ms=wait_ms, topic=STATUS.name if only_status else None):
            chunk.add(topic, records)

    async def positions(self, *, only_status: bool = False) -> Offsets:
        """Where the next fetch begins; transaction markers and compacted offsets before it are passed."""
        return await self._sunk.positions(STATUS.name if only_status else None)

    async def status_ends(self, partitions: Iterable[int]) -> Offsets:
        """Where `status` ends in these partitions, open transactions included.

        A transaction becomes visible partition by partition, so records of `transitions` may be
        readable a moment before the states of the same transaction are; these lie before this end.
        """
        places = [TopicPartition(self._prefix + STATUS.name, partition) for partition in set(partitions)]
        found = await self._everything.end_offsets(places)
        return {(STATUS.name, place.partition): end for place, end in found.items()}

    async def ends(self) -> Offsets:
        """Where every topic ends now for a reader of committed records, and `raw`."""
        return {**await self._sunk.ends(), **await self._raws.ends()}

    async def count_raw(self, ends: Mapping[int, int]) -> tuple[Mapping[tuple[str, str], int], Offsets]:
        """The raw records up to `ends` that are not counted yet, by source and hour, and how far that is.

        Receipts that speak of records beyond the end of `raw` are of records a broker lost, or somebody's
        invention; they are told, and not waited for.
        """
        known = {partition: end for partition, end in ends.items() if self.raw_next.get(partition, end) < end}
        if self._counter is None or not known:
            return {}, {}
        if any(end > self._raw_ends.get(partition, 0) for partition, end in known.items()):
            places = [place for place in self._raws.places if place.partition in known]
            found = await self._raw.end_offsets(places)
            self._raw_ends |= {place.partition: end for place, end in found.items()}
        for partition, end in known.items():
            if end > self._raw_ends[partition]:
                _log.error("receipts %d speak of raw records up to %d, and it ends before", partition, end)
                known[partition] = max(self._raw_ends[partition], self.raw_next[partition])
        counts = await self._counter.count_to(known)
        self.raw_next |= known
        return counts, {(RAW.name, partition): end for partition, end in known.items()}


@asynccontextmanager
async def feed(brokers: Sequence[str], prefix: str, positions: Mapping[tuple[str, int], int]) -> AsyncIterator[Feed]:
    """A feed that goes on at `positions`. Raises `FeedError`, `KafkaError`, `OSError`, `TimeoutError`."""
    partitions = await partition_counts(brokers, [prefix + name for name in _TOPICS])
    counted = {name: partitions[prefix + name] for name in _TOPICS}
    by_message = {topic.name: counted[topic.name] for topic in BY_MESSAGE}
    if len(set(by_message.values())) > 1:
        told_apart = ", ".join(f"{prefix}{name} {count}" for name, count in sorted(by_message.items()))
        raise FeedError(f"topics that must have equal numbers of partitions differ: {told_apart}")
    async with AsyncExitStack() as stack:
        committed = await open_consumer(stack, brokers, isolation_level="read_committed", auto_offset_reset="none")
        raw = await open_consumer(stack, brokers, isolation_level="read_committed", auto_offset_reset="earliest")
        everything = await open_consumer(stack, brokers, isolation_level="read_uncommitted", auto_offset_reset="none")
        found = Feed(prefix, counted, committed=committed, raw=raw, everything=everything)
        await found.seek(positions)
        yield found


async def open_consumer(
    stack: AsyncExitStack, brokers: Sequence[str], *, client_id: str = "sendtrace-tables", **options: str
) -> AIOKafkaConsumer:
    """Started, in no group, and stopped with the stack. Raises as `feed` does."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(brokers),
        client_id=client_id,
        enable_auto_commit=False,
        request_timeout_ms=round(REQUEST_S * 1000),
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
        **options,
    )
    stack.push_async_callback(end_consumer, consumer)
    await consumer.start()
    return consumer


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop it, in the middle of a fetch or not.

    Its own `stop` raises the `CancelledError` of a fetch it cancelled while no broker answered, which would
    pass for ours, and leaves its sockets open. Private name: `tests/contract/test_aiokafka_names.py`.
    """
    stopping = asyncio.get_running_loop().create_task(consumer.stop())
    await asyncio.wait([stopping])
    if stopping.cancelled():
        await consumer._client.close()  # noqa: SLF001  what `stop` had left to do
    else:
        stopping.result()


async def partition_counts(brokers: Sequence[str], topics: Sequence[str]) -> dict[str, int]:
    """How many each has. Asks for all topics: asking for one by its name might make it. Raises as `feed` does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=list(brokers), request_timeout_ms=round(REQUEST_S * 1000))
    try:
        await admin.start()
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    except AssertionError as error:  # the client's way to say that it knows no broker yet
        raise KafkaConnectionError("no broker yet") from error
    finally:
        await admin.close()
    for topic in topics:
        if not found.get(topic):
            raise FeedError(f"the topic {topic} does not exist; run `sendtrace topics create`")
    return found


#: What goes by itself when Kafka does.
KAFKA_TROUBLE: Final = (FeedError, KafkaError, OffsetOutOfRangeError, TimeoutError, OSError)
