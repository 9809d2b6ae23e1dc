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
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

import psycopg

from sinks.tables.changes import TablesWriter
from sinks.tables.kafka_chunk import SUNK, Chunk
from sinks.tables.kafka_feed import KAFKA_TROUBLE, Feed, Offsets, feed, told
from sinks.tables.trouble import TablesError

_WAIT_MS: Final = 200
_MEASURE_PERIOD_S: Final = 1.0
_PROGRESS_S: Final = 15.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
TABLES_TROUBLE: Final = (sqlite3.Error, psycopg.Error, TablesError)

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(slots=True)
class SinkStats:
    """What it did since the start, and how far it is behind: (topic, partition) → offsets."""

    transactions: int = 0
    rows: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SUNK, 0)))
    not_understood: int = 0
    set_aside: int = 0
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    caught_up: bool = False
    trouble: str | None = "not begun"


class KafkaSink:
    """Reads the topics with `prefix` and writes through one writer at a time, in a thread of its own.

    `open_writer` is called in that thread, again after each trouble; what it raises beside trouble
    (a schema of a newer release) ends `run`.
    """

    def __init__(self, *, brokers: tuple[str, ...], prefix: str, open_writer: Callable[[], TablesWriter]) -> None:
        self.stats = SinkStats()
        self._brokers = brokers
        self._prefix = prefix
        self._open_writer = open_writer
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tables")
        self._progressed_s = float("-inf")
        self._measured_s = float("-inf")
        self._seen_ends: Offsets = {}

    def is_ready(self) -> bool:
        """Whether it has caught up once, and is at work."""
        late = asyncio.get_running_loop().time() - self._progressed_s > _PROGRESS_S
        return self.stats.caught_up and self.stats.trouble is None and not late

    async def run(self) -> None:
        """Until it is cancelled. What is being written then is written to its end."""
        pause_s = 0.0
        try:
            while True:
                began = self.stats.transactions
                try:
                    await self._session()
                except TABLES_TROUBLE as error:
                    self._tell(f"tables: {str(error).partition(chr(10))[0]}")
                except KAFKA_TROUBLE as error:
                    self._tell(f"kafka: {told(self._brokers, error)}")
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                pause_s = _FIRST_PAUSE_S if self.stats.transactions > began else pause_s
                await asyncio.sleep(pause_s)
        finally:
            self._thread.shutdown(wait=False)

    def _tell(self, trouble: str) -> None:
        if trouble != self.stats.trouble:
            _log.error("%s; trying again until it goes", trouble)
        self.stats.trouble = trouble

    async def _session(self) -> None:
        """From the positions of the tables on, until something fails."""
        writer = await self._open()
        try:
            positions = await self._in_thread(writer.positions)
            async with feed(self._brokers, self._prefix, positions) as source:
                self._seen_ends, self._measured_s = {}, float("-inf")
                while True:
                    await self._measure(source)
                    await self._step(source, writer)
        finally:
            await asyncio.shield(self._in_thread(writer.close))

    async def _open(self) -> TablesWriter:
        """A writer, which nobody would close if this were cancelled meanwhile: it closes itself then."""
        opening = self._thread.submit(self._open_writer)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _step(self, source: Feed, writer: TablesWriter) -> None:
        """One transaction, or several where `status` has to be read on."""
        chunk = Chunk()
        await source.fetch(chunk, wait_ms=_WAIT_MS)
        positions = await source.positions()
        ends = await source.status_ends(chunk.spoken_of) if chunk.spoken_of else {}
        ahead = Chunk(states=chunk.states)
        while _is_before(at := await source.positions(only_status=True), ends):
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
        self._progressed_s = asyncio.get_running_loop().time()

    def _told_aside(self, rows: int) -> int:
        if rows:
            _log.error("tables: %d rows were refused; the table set_aside has them with their reasons", rows)
        return rows

    async def _measure(self, source: Feed) -> None:
        """How far behind, once a second. It has caught up when it is where the topics ended a second ago."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._measured_s < _MEASURE_PERIOD_S:
            return
        at = {**await source.positions(), **{("raw", number): end for number, end in source.raw_next.items()}}
        behind = {place for place in self._seen_ends if place[0] in SUNK and at[place] < self._seen_ends[place]}
        self.stats.caught_up = self.stats.caught_up or bool(self._seen_ends and not behind)
        self._seen_ends, self._measured_s = await source.ends(), now_s
        self.stats.lag = {place: max(0, end - at[place]) for place, end in self._seen_ends.items()}
        if self.stats.trouble is not None:
            self.stats.trouble = None
            _log.info("reading %d partitions", len(at))

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _close_unwanted(opening: Future[TablesWriter]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _is_before(at: Offsets, ends: Offsets) -> bool:
    return any(at[place] < end for place, end in ends.items())
