"""Counts the records of the raw topic itself, by source and hour: the side of the audit no worker had a hand in.

Only headers are looked at, though Kafka gives no record without its body.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.codec import RecordError
from schemas.kafka_records import postback_of
from schemas.times import hour_of, iso_ms

_HOUR_MS: Final = 3_600_000
_POLL_MS: Final = 500
#: Kafka has the records: the worker read them. A fetch that brings none for so long is trouble.
_NO_PROGRESS_S: Final = 20.0
_HOURS_REMEMBERED: Final = 64

#: Under this source the worker keeps what no gateway wrote (`processors.faust_shell.raw_records`).
STRANGER: Final = "unknown"

#: (source, hour), or `None` for a record of no hour.
Key = tuple[str, str] | None

_log = logging.getLogger(__name__)


class RawCounter:
    """Counts on from `start`, partition by partition, in offset order. Used by one task.

    The consumer has the partitions assigned, begins with the earliest record where one is gone, and is
    used by nobody else.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, start: Mapping[int, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._next = dict(start)
        self._ahead: dict[int, deque[tuple[int, Key]]] = {partition: deque() for partition in start}
        for partition, offset in start.items():
            consumer.seek(TopicPartition(topic, partition), offset)

    async def count_to(self, ends: Mapping[int, int]) -> Counter[tuple[str, str]]:
        """The records before `ends` that no earlier call counted. Raises `KafkaError` and `TimeoutError`."""
        counts: Counter[tuple[str, str]] = Counter()
        gaps: list[tuple[int, int, int]] = []
        behind = {partition: end for partition, end in ends.items() if self._next[partition] < end}
        for partition, end in behind.items():
            self._take(partition, end, counts, gaps)
        while waiting := [partition for partition, end in behind.items() if await self._position(partition) < end]:
            for partition in await self._fetch(waiting):
                self._take(partition, behind[partition], counts, gaps)
        for partition, end in behind.items():
            self._pass_over(partition, end, gaps)
        if gaps:
            await self._tell_removed(gaps)
        return counts

    async def _position(self, partition: int) -> int:
        return int(await self._consumer.position(TopicPartition(self._topic, partition)))

    async def _fetch(self, waiting: Iterable[int]) -> set[int]:
        """The partitions of which there are records now; raises `TimeoutError` when there are none for long."""
        partitions = [TopicPartition(self._topic, partition) for partition in waiting]
        before = [await self._consumer.position(one) for one in partitions]
        async with asyncio.timeout(_NO_PROGRESS_S):
            while True:
                found = await self._consumer.getmany(*partitions, timeout_ms=_POLL_MS)
                for one, records in found.items():
                    self._ahead[one.partition].extend((record.offset, key_of(record)) for record in records)
                if found or before != [await self._consumer.position(one) for one in partitions]:
                    return {one.partition for one in partitions}

    def _take(
        self, partition: int, end: int, counts: Counter[tuple[str, str]], gaps: list[tuple[int, int, int]]
    ) -> None:
        ahead = self._ahead[partition]
        while ahead and ahead[0][0] < end:
            offset, key = ahead.popleft()
            self._pass_over(partition, offset, gaps)
            self._next[partition] = offset + 1
            if key is not None:
                counts[key] += 1

    def _pass_over(self, partition: int, offset: int, gaps: list[tuple[int, int, int]]) -> None:
        if offset > self._next[partition]:
            gaps.append((partition, self._next[partition], offset))
            self._next[partition] = offset

    async def _tell_removed(self, gaps: list[tuple[int, int, int]]) -> None:
        """Of offsets without a record those before the topic's beginning; others never were postbacks."""
        partitions = {TopicPartition(self._topic, partition) for partition, _, _ in gaps}
        begin = {one.partition: at for one, at in (await self._consumer.beginning_offsets(list(partitions))).items()}
        removed = sum(max(0, min(end, begin[partition]) - start) for partition, start, end in gaps)
        if removed:
            _log.error(
                "the retention of %s has removed %d records before they were counted: the audit cannot add up for their"
                " hours",
                self._topic,
                removed,
            )


def key_of(record: ConsumerRecord[bytes, bytes]) -> Key:
    """Source and hour of a raw record, as the worker's receipt of it has them; `None` for a time nobody can write."""
    try:
        postback = postback_of(record.headers, b"")
        source, received_ms = postback.source, postback.received_ms
    except RecordError:
        source, received_ms = STRANGER, max(0, record.timestamp)
    try:
        return source, _hour(received_ms // _HOUR_MS)
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(maxsize=_HOURS_REMEMBERED)
def _hour(number: int) -> str:
    return hour_of(iso_ms(number * _HOUR_MS))
