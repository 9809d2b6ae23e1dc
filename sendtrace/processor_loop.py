"""The embedded driver: raw log in, tables out, one transaction a batch.

It decides nothing about postbacks. What it does decide: a batch whose fold fails is halved until the
record at fault stands alone and becomes a dead letter; a write that fails is tried again from the
last committed position, so no record is skipped and none is applied twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from ingest.file_log_reader import ExpiredPositionError, FileLogReader
from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor, poison
from schemas.batch import Batch
from schemas.ports import Clock, LogReader
from schemas.postback import LogRecord
from schemas.rejections import RejectReason
from schemas.times import iso_ms
from sendtrace.data_paths import DataPaths
from sinks.tables.sqlite_writer import SqliteTables

#: About 3,000 postbacks: large enough that a commit costs little, small enough to be quick.
MOST_BATCH_BYTES: Final = 2 * 1024 * 1024
_RETRIES_AT_ONCE: Final = 500
_MOST_KILLS: Final = 2
_STORE_TROUBLE: Final = (sqlite3.Error, OSError)  # the disk's fault, not the record's

_log = logging.getLogger(__name__)


class Suspicion(Protocol):
    """Remembers over a crash which record was in hand."""

    def take_up(self, position: int) -> int:
        """How often the record at `position` was taken up before, and not put down."""
        ...


class MarkedAttempts:
    """`Suspicion` in a small file: written before a record is handled, so it survives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take_up(self, position: int) -> int:
        """See `Suspicion`. Not fsynced: it has to survive the process, not the machine."""
        try:
            held, times = (int(word) for word in self._path.read_text(encoding="ascii").split())
        except (FileNotFoundError, ValueError):
            held, times = -1, 0
        times = times if held == position else 0
        self._path.write_text(f"{position} {times + 1}", encoding="ascii")
        return times


class Retried(NamedTuple):
    """What came of trying dead letters again."""

    applied: int
    refused: int


class ProcessorLoop:
    """Handles the raw log of one data directory. One thread; nobody else writes the tables.

    `suspicion` is given after a crash: until the batch that was in hand has passed, records are
    handled one by one, and one that ended the process before becomes a dead letter.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        tables: SqliteTables,
        processor: PartitionProcessor,
        clock: Clock,
        suspicion: Suspicion | None = None,
    ) -> None:
        self._reader = reader
        self._tables = tables
        self._processor = processor
        self._clock = clock
        self._suspicion = suspicion
        self.position = tables.position()
        self._careful_until = self.position + MOST_BATCH_BYTES if suspicion is not None else self.position

    def step(self) -> int:
        """Handle what the log has next, at most one batch; returns the number of records."""
        try:
            found = self._reader.read(self.position, MOST_BATCH_BYTES)
        except ExpiredPositionError as error:
            _log.error("%s", error)
            self.position = error.next_position
            return 0
        if found.records:
            self._handle(found.records, found.next_position)
        elif found.next_position > self.position:
            self.position = found.next_position
        return len(found.records)

    def retry_dead(self) -> Retried:
        """Try again the dead letters somebody asked for, at most some hundred."""
        retried = Retried(0, 0)
        # One at a time, each written before the next is folded: a fault in one must not touch the others.
        for record in self._tables.to_retry(_RETRIES_AT_ONCE):
            batch = self._fold_one(record)
            self._write(partial(self._tables.commit_retry, batch, iso_ms(self._clock.now_ms())))
            refused = len(batch.dead)
            retried = Retried(retried.applied + 1 - refused, retried.refused + refused)
        return retried

    def _handle(self, records: Sequence[LogRecord], next_position: int) -> None:
        first = records[0].position
        if len(records) > 1 and first < self._careful_until:
            self._in_parts(records, next_position, 1)
        elif first < self._careful_until and self._killed_before(records[0]):
            self._commit(poison(records[0], RejectReason.PROCESS_KILLED, _KILLED), next_position)
        else:
            batch = self._fold(records)
            if batch is None:
                self._in_parts(records, next_position, len(records) // 2)
            else:
                self._commit(batch, next_position)

    def _fold(self, records: Sequence[LogRecord]) -> Batch | None:
        """The batch, or `None` if one of several records is at fault and they must be taken apart."""
        if len(records) == 1:
            return self._fold_one(records[0])
        try:
            return self._processor.handle(records)
        except Exception as error:
            self._processor.forget()
            if isinstance(error, _STORE_TROUBLE):
                raise
            return None

    def _fold_one(self, record: LogRecord) -> Batch:
        """The batch of one record; whatever it provokes becomes its dead letter."""
        try:
            return self._processor.handle([record])
        except Exception as error:
            self._processor.forget()
            if isinstance(error, _STORE_TROUBLE):
                raise
            return _poisoned(record, error)

    def _in_parts(self, records: Sequence[LogRecord], next_position: int, size: int) -> None:
        for start in range(0, len(records), size):
            rest = records[start + size :]
            self._handle(records[start : start + size], rest[0].position if rest else next_position)

    def _killed_before(self, record: LogRecord) -> bool:
        return self._suspicion is not None and self._suspicion.take_up(record.position) >= _MOST_KILLS

    def _commit(self, batch: Batch, next_position: int) -> None:
        self._write(partial(self._tables.commit, batch, next_position))
        self.position = next_position

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException:
            # What was folded is not in the tables: the next fold must start from what is.
            self._processor.forget()
            self._tables.forget()
            raise


_KILLED: Final = "handling this body ended the process several times; it was put aside so that others go on"


def _poisoned(record: LogRecord, error: Exception) -> Batch:
    # The type alone: an error's text may quote the body.
    _log.error("a postback at position %d could not be processed: %s", record.position, type(error).__name__)
    detail = f"{type(error).__name__} while the body was processed"
    return poison(record, RejectReason.PROCESSING_ERROR, detail)


class AlreadyRunningError(RuntimeError):
    """Another process handles this data directory."""


@contextmanager
def processor_lock(paths: DataPaths, *, wait: bool) -> Iterator[None]:
    """The right to write the tables of a data directory. Raises `AlreadyRunningError` unless `wait`."""
    handle = os.open(paths.processor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise AlreadyRunningError(f"{paths.directory}: another sendtrace is working on this directory") from error
        yield
    finally:
        os.close(handle)


def open_loop(
    paths: DataPaths, *, reader: LogReader, rules: Path | None, clock: Clock, suspicion: Suspicion | None = None
) -> tuple[ProcessorLoop, SqliteTables]:
    """Everything wired for one data directory. The caller holds `processor_lock` and closes the tables."""
    tables = SqliteTables(paths.tables)
    processor = PartitionProcessor(normalize=Normalizer(Classifier.load(rules)), store=tables)
    loop = ProcessorLoop(reader=reader, tables=tables, processor=processor, clock=clock, suspicion=suspicion)
    return loop, tables


def retry_now(paths: DataPaths, *, rules: Path | None, clock: Clock) -> Retried:
    """Try the requested dead letters again in this process. Raises `AlreadyRunningError` when one is at work."""
    reader = FileLogReader(paths.raw)
    with processor_lock(paths, wait=False):
        loop, tables = open_loop(paths, reader=reader, rules=rules, clock=clock)
        try:
            total = Retried(0, 0)
            while (done := loop.retry_dead()) != Retried(0, 0):
                total = Retried(total.applied + done.applied, total.refused + done.refused)
            return total
        finally:
            tables.close()
            reader.close()
