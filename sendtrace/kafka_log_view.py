"""The raw topic for reading: single bodies, and what lies on it that the tables have not counted yet.

For any number of threads; the client lives on an event loop in a thread of its own, begun when it is
first needed. Refuses to wait long for a broker: a body that cannot be had is `None`, a count that
cannot be made is a `BrokerError`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.kafka_outputs import raw_place
from schemas.topics import RAW
from sendtrace.kafka_topics import BrokerError
from sinks.tables.kafka_feed import KAFKA_TROUBLE, REQUEST_S, end_consumer, partition_counts, told
from sinks.tables.kafka_raw import RawCounter

_BODY_S: Final = 3.0
#: After a broker did not give a body, the others of the same timeline are not asked for one by one.
_AWAY_S: Final = 10.0
#: One record is wanted; Kafka gives a whole batch at least.
_BODY_FETCH_BYTES: Final = 32 * 1024
_COUNT_FETCH_BYTES: Final = 1024 * 1024
_FETCH_WAIT_MS: Final = 20

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class KafkaLogView:
    """The topic `raw` of one set of topics."""

    def __init__(self, brokers: Sequence[str], prefix: str) -> None:
        self._brokers = list(brokers)
        self._topic = prefix + RAW.name
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._reading: AIOKafkaConsumer | None = None
        self._partitions = 0
        self._away_until_s = float("-inf")

    def body_at(self, position: int) -> bytes | None:
        """The exact body at a `raw_position`; `None` once retention has removed it, and while no broker gives it."""
        if not self._brokers:
            return None
        return self._run(self._body_at(*raw_place(position)))

    def count_pending(self, raw_positions: Mapping[int, int]) -> Mapping[tuple[str, str], int]:
        """Bodies from `raw_positions` to where the topic ends now, by source and hour.

        As long as it takes: every one of them is read. Raises `BrokerError`.
        """
        if not self._brokers:
            raise BrokerError("kafka.bootstrap_servers is empty: what is pending lies on Kafka and cannot be counted")
        try:
            return self._run(self._count_pending(raw_positions))
        except KAFKA_TROUBLE as error:
            raise BrokerError(f"what is pending cannot be counted: {told(self._brokers, error)}") from error

    def close(self) -> None:
        """Hang up, and end the thread."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="kafka", daemon=True)
                self._thread.start()
                self._bodies = asyncio.Lock()
            loop = self._loop
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def _hang_up(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            await end_consumer(reading)

    async def _body_at(self, partition: int, offset: int) -> bytes | None:
        async with self._bodies:  # one consumer, one place at a time
            loop = asyncio.get_running_loop()
            if loop.time() < self._away_until_s:
                return None
            try:
                async with asyncio.timeout(REQUEST_S + _BODY_S):
                    return await self._read(partition, offset)
            except KAFKA_TROUBLE as error:
                _log.warning("a body cannot be read: %s", told(self._brokers, error))
                self._away_until_s = loop.time() + _AWAY_S
                await self._hang_up()
                return None

    async def _read(self, partition: int, offset: int) -> bytes | None:
        if self._reading is None:
            self._partitions = (await partition_counts(self._brokers, [self._topic]))[self._topic]
            self._reading = await self._consumer(_BODY_FETCH_BYTES)
        if partition >= self._partitions:
            return None
        place = TopicPartition(self._topic, partition)
        if self._reading.assignment() != {place}:
            self._reading.assign([place])
        if offset < (await self._reading.beginning_offsets([place]))[place]:
            return None
        self._reading.seek(place, offset)
        found = await self._reading.getmany(place, timeout_ms=round(_BODY_S * 1000), max_records=1)
        for record in found.get(place, ()):
            if record.offset == offset:
                return record.value or b""
        return None

    async def _count_pending(self, raw_positions: Mapping[int, int]) -> Mapping[tuple[str, str], int]:
        count = (await partition_counts(self._brokers, [self._topic]))[self._topic]
        places = [TopicPartition(self._topic, partition) for partition in range(count)]
        async with AsyncExitStack() as stack:
            consumer = await self._consumer(_COUNT_FETCH_BYTES)
            stack.push_async_callback(end_consumer, consumer)
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            consumer.assign(places)
            start = {place.partition: max(begins[place], raw_positions.get(place.partition, 0)) for place in places}
            counter = RawCounter(consumer, self._topic, start)
            return await counter.count_to({place.partition: ends[place] for place in places})

    async def _consumer(self, fetch_bytes: int) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            client_id="sendtrace-reader",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=round(REQUEST_S * 1000),
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=fetch_bytes,
        )
        try:
            await consumer.start()
        except BaseException:
            await end_consumer(consumer)
            raise
        return consumer
