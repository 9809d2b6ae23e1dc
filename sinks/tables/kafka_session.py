"""What every sink on Kafka with tables behind it has: it works until something fails, says so once, and goes on.

The database is used in one thread of the session's own. Kafka or the database away is one log line, and
it goes on by itself from where the tables are.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import psycopg

from sinks.tables.kafka_feed import KAFKA_TROUBLE, Offsets, told
from sinks.tables.trouble import TablesError

MEASURE_PERIOD_S: Final = 1.0
_PROGRESS_S: Final = 15.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
TABLES_TROUBLE: Final = (sqlite3.Error, psycopg.Error, TablesError)

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Closable(Protocol):
    """The way to a database."""

    def close(self) -> None:
        """Give it back."""


_Tables = TypeVar("_Tables", bound=Closable)


@dataclass(slots=True)
class SessionStats:
    """What it did since the start, and how far it is behind: (topic, partition) → offsets."""

    transactions: int = 0
    not_understood: int = 0
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    caught_up: bool = False
    trouble: str | None = "not begun"


class KafkaSession(ABC, Generic[_Tables]):
    """One way to the tables at a time, opened anew after each trouble.

    `open_tables` is called in the thread; what it raises beside trouble (a schema of a newer release) ends `run`.
    """

    def __init__(self, *, brokers: tuple[str, ...], open_tables: Callable[[], _Tables], stats: SessionStats) -> None:
        self._brokers = brokers
        self._open_tables = open_tables
        self.session_stats = stats
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tables")
        self._progressed_s = float("-inf")

    def is_ready(self) -> bool:
        """Whether it has caught up once, and is at work."""
        late = asyncio.get_running_loop().time() - self._progressed_s > _PROGRESS_S
        return self.session_stats.caught_up and self.session_stats.trouble is None and not late

    async def run(self) -> None:
        """Until it is cancelled. What is being written then is written to its end."""
        pause_s = 0.0
        try:
            while True:
                began = self.session_stats.transactions
                try:
                    await self._one_session()
                except TABLES_TROUBLE as error:
                    self._tell(f"tables: {str(error).partition(chr(10))[0]}")
                except KAFKA_TROUBLE as error:
                    self._tell(f"kafka: {told(self._brokers, error)}")
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                pause_s = _FIRST_PAUSE_S if self.session_stats.transactions > began else pause_s
                await asyncio.sleep(pause_s)
        finally:
            self._thread.shutdown(wait=False)

    @abstractmethod
    async def _work(self, tables: _Tables) -> None:
        """From the positions of the tables on, until something fails."""

    def _progressed(self) -> None:
        """It gets something done, if only finding that there is nothing to do."""
        self._progressed_s = asyncio.get_running_loop().time()

    def _is_well(self, partitions: int) -> None:
        """Kafka and the database are there."""
        if self.session_stats.trouble is not None:
            self.session_stats.trouble = None
            _log.info("reading %d partitions", partitions)

    def _tell(self, trouble: str) -> None:
        if trouble != self.session_stats.trouble:
            _log.error("%s; trying again until it goes", trouble)
        self.session_stats.trouble = trouble

    async def _one_session(self) -> None:
        tables = await self._open()
        try:
            await self._work(tables)
        finally:
            await asyncio.shield(self._in_thread(tables.close))

    async def _open(self) -> _Tables:
        """The tables, which nobody would close if this were cancelled meanwhile: they are closed then."""
        opening = self._thread.submit(self._open_tables)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _close_unwanted(opening: Future[_Tables]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def is_before(at: Offsets, ends: Offsets) -> bool:
    """Whether some partition has not been read up to its end of then."""
    return any(at[place] < end for place, end in ends.items())
