"""The tables sink on Kafka: what workers wrote, into tables, each record once.

Positions are written in the transaction of what came before them, so after any end it goes on where
the tables are. `status` may run ahead; transitions and receipts are written when `status` has been
read as far as it went when they came, so every message they speak of has its row. What it decides
nothing about: statuses, and which of two databases it writes. Kafka or the database away is one log
line, and it goes on by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from sinks.tables.changes import Retention, TablesWriter
from sinks.tables.kafka_chunk import SUNK, Chunk
from sinks.tables.kafka_feed import Feed, Offsets, feed
from sinks.tables.kafka_session import MEASURE_PERIOD_S, KafkaSession, SessionStats, is_before

_WAIT_MS: Final = 200
_EXPIRE_PERIOD_S: Final = 3_600.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SinkStats(SessionStats):
    """The same of the tables sink, with rows by the topic they came from."""

    rows: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SUNK, 0)))
    set_aside: int = 0


class KafkaSink(KafkaSession[TablesWriter]):
    """Reads the topics with `prefix` and writes through one writer at a time (`KafkaSession`).

    `retention` says what is to go by now; it is asked once an hour.
    """

    def __init__(
        self,
        *,
        brokers: tuple[str, ...],
        prefix: str,
        open_writer: Callable[[], TablesWriter],
        retention: Callable[[], Retention] | None = None,
    ) -> None:
        self.stats = SinkStats()
        super().__init__(brokers=brokers, open_tables=open_writer, stats=self.stats)
        self._prefix = prefix
        self._retention = retention
        self._expired_s = float("-inf")
        self._measured_s = float("-inf")
        self._seen_ends: Offsets = {}

    @override
    async def _work(self, tables: TablesWriter) -> None:
        positions = await self._in_thread(tables.positions)
        async with feed(self._brokers, self._prefix, positions) as source:
            self._seen_ends, self._measured_s = {}, float("-inf")
            while True:
                await self._measure(source)
                await self._expire(tables)
                await self._step(source, tables)

    async def _step(self, source: Feed, writer: TablesWriter) -> None:
        """One transaction, or several where `status` has to be read on."""
        chunk = Chunk()
        await source.fetch(chunk, wait_ms=_WAIT_MS)
        positions = await source.positions()
        ends = await source.status_ends(chunk.spoken_of) if chunk.spoken_of else {}
        ahead = Chunk(states=chunk.states)
        while is_before(at := await source.positions(only_status=True), ends):
            await self._write(writer, ahead, at, {})
            await self._measure(source)
            ahead = Chunk()
            await source.fetch(ahead, only_status=True, wait_ms=_WAIT_MS)
        chunk.states = ahead.states
        chunk.not_understood += ahead.not_understood
        accepted, handled = await source.count_raw(chunk.raw_ends)
        await self._write(writer, chunk, {**positions, **at, **handled}, accepted)

    async def _write(
        self, writer: TablesWriter, chunk: Chunk, positions: Offsets, accepted: Mapping[tuple[str, str], int]
    ) -> None:
        self.stats.not_understood += chunk.not_understood
        if any(chunk.rows.values()) or chunk.raw_ends or chunk.not_understood:
            before = writer.rows_set_aside
            await self._in_thread(lambda: writer.write_changes(chunk.changes(positions, accepted)))
            self.stats.set_aside += self._told_aside(writer.rows_set_aside - before)
            self.stats.transactions += 1
            self.stats.rows.update(chunk.rows)
        self._progressed()

    def _told_aside(self, rows: int) -> int:
        if rows:
            _log.error("tables: %d rows were refused; the table set_aside has them with their reasons", rows)
        return rows

    async def _measure(self, source: Feed) -> None:
        """How far behind, once a second. It has caught up when it is where the topics ended a second ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._measured_s < MEASURE_PERIOD_S:
            return
        at = {**await source.positions(), **{("raw", number): end for number, end in source.raw_next.items()}}
        behind = {place for place in self._seen_ends if place[0] in SUNK and at[place] < self._seen_ends[place]}
        self.stats.caught_up = self.stats.caught_up or bool(self._seen_ends and not behind)
        self._seen_ends, self._measured_s = await source.ends(), now_s
        self.stats.lag = {place: max(0, end - at[place]) for place, end in self._seen_ends.items()}
        self._is_well(len(at))

    async def _expire(self, writer: TablesWriter) -> None:
        """Between two transactions."""
        now_s = asyncio.get_running_loop().time()
        if self._retention is None or now_s - self._expired_s < _EXPIRE_PERIOD_S:
            return
        retention = self._retention()
        went = await self._in_thread(lambda: writer.expire(retention))
        self._expired_s = now_s
        if went.dead_letters or went.partitions:
            months = ", ".join(went.partitions) or "no months"
            _log.info("retention: %d dead letters and %s deleted", went.dead_letters, months)
