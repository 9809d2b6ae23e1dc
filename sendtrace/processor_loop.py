"""The embedded driver: raw log in, tables out, one transaction a batch.

It decides nothing about postbacks. What it does decide: records that cannot be handled are taken
apart until the one at fault stands alone and becomes a dead letter; a write that fails is tried
again from the last committed position, so no record is skipped and none is applied twice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ingest.file_log_reader import ExpiredPositionError, FileLogReader
from processors.attempts import MOST_KILLS, Suspicion
from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor, poison
from processors.tallies import Tallies
from schemas.batch import Batch
from schemas.ports import Clock, LogReader
from schemas.postback import LogRecord, LogSlice
from schemas.rejections import RejectReason
from schemas.tallies import Tally
from schemas.times import iso_ms
from sendtrace.data_paths import DataPaths
from sendtrace.erasure_file import add_to_list, read_list
from sendtrace.personal_keys import NO_KEYS, PersonalKeys
from sinks.tables.sqlite_writer import SqliteTables

#: About 3,000 postbacks: large enough that a commit costs little, small enough to be quick.
MOST_BATCH_BYTES: Final = 2 * 1024 * 1024
#: What is read, folded and written in one go; the commit waits for the whole batch. Some dozens of
#: postbacks and all that is made of them fit into the processor's cache, thousands do not (measured:
#: half the time an event).
SLICE_BYTES: Final = 48 * 1024
_RETRIES_AT_ONCE: Final = 500
_STORE_TROUBLE: Final = (sqlite3.Error, OSError)  # the disk's fault, not the record's

_log = logging.getLogger(__name__)


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
        self._suspect_until = self.position + MOST_BATCH_BYTES if suspicion is not None else self.position
        self._apart_until = self._suspect_until

    def step(self) -> int:
        """Handle what the log has next, at most one batch; returns the number of records."""
        try:
            found = self._reader.read(self.position, SLICE_BYTES)
        except ExpiredPositionError as error:
            _log.error("%s", error)
            self.position = error.next_position
            return 0
        if not found.records:
            self.position = max(self.position, found.next_position)
        elif self.position < self._apart_until:
            self._handle(found.records, found.next_position)
        else:
            return self._handle_together(found)
        return len(found.records)

    def retry_dead(self) -> Retried:
        """Try again the dead letters somebody asked for, at most some hundred."""
        retried = Retried(0, 0)
        # One at a time, each written before the next is folded: a fault in one must not touch the others.
        for record in self._tables.to_retry(_RETRIES_AT_ONCE):
            applied = self._retry(record)
            retried = Retried(retried.applied + applied, retried.refused + (not applied))
        return retried

    def _handle_together(self, found: LogSlice) -> int:
        """One transaction for slice after slice, until the batch is large enough or the log ends."""
        handled, position, enough, tallies = 0, self.position, self.position + MOST_BATCH_BYTES, Tallies()
        try:
            with self._tables.transaction():
                while found.records:
                    batch = self._processor.handle(found.records)
                    self._tables.write(batch)
                    tallies.add(batch)
                    handled, position = handled + len(found.records), found.next_position
                    if position >= enough:
                        break
                    try:
                        found = self._reader.read(position, SLICE_BYTES)
                    except ExpiredPositionError:  # for the next step to report
                        break
                self._tables.write_tallies(tallies.take())
                self._tables.write_position(position)
        except Exception as error:  # noqa: BLE001  whatever a record provokes must not stop the others
            self._set_back(error)
            self._apart_until = found.next_position
            return self.step()
        self.position = position
        return handled

    def _handle(self, records: Sequence[LogRecord], next_position: int) -> None:
        """Each in a transaction of its own if need be, and what cannot be handled as a dead letter."""
        suspect = records[0].position < self._suspect_until
        if suspect and len(records) > 1:
            self._in_parts(records, next_position, 1)
        elif suspect and self._killed_before(records[0]):
            self._commit(poison(records[0], RejectReason.PROCESS_KILLED, _KILLED), next_position)
        else:
            try:
                self._commit(self._processor.handle(records), next_position)
            except Exception as error:  # noqa: BLE001  as above
                self._set_back(error)
                if len(records) > 1:
                    self._in_parts(records, next_position, len(records) // 2)
                else:
                    self._commit(_poisoned(records[0], error), next_position)
        if suspect and self._suspicion is not None and len(records) == 1:
            self._suspicion.put_down(records[0].position)
        self.position = next_position

    def _commit(self, batch: Batch, next_position: int) -> None:
        self._tables.commit(batch, next_position, tallies=_tallies_of(batch))

    def _in_parts(self, records: Sequence[LogRecord], next_position: int, size: int) -> None:
        for start in range(0, len(records), size):
            rest = records[start + size :]
            self._handle(records[start : start + size], rest[0].position if rest else next_position)

    def _killed_before(self, record: LogRecord) -> bool:
        return self._suspicion is not None and self._suspicion.take_up(record.position) >= MOST_KILLS

    def _retry(self, record: LogRecord) -> bool:
        """Whether it was applied this time."""
        retried_at = iso_ms(self._clock.now_ms())
        try:
            batch = self._processor.handle([record])
            # Only what was applied: the refusal is in the tally of the first try.
            tallies = [] if batch.dead else _tallies_of(batch)
            self._tables.commit_retry(batch, retried_at, tallies=tallies)
        except Exception as error:  # noqa: BLE001  whatever a record provokes must not stop the others
            self._set_back(error)
            batch = _poisoned(record, error)
            self._tables.commit_retry(batch, retried_at)
        return not batch.dead

    def _set_back(self, error: Exception) -> None:
        """Nothing of the batch was written: the next must start from what is. Raises the disk's own trouble."""
        self._processor.forget()
        self._tables.forget()
        if isinstance(error, _STORE_TROUBLE):
            raise error


_KILLED: Final = "handling this body ended the process several times; it was put aside so that others go on"


def _tallies_of(batch: Batch) -> list[Tally]:
    tallies = Tallies()
    tallies.add(batch)
    return tallies.take()


def _poisoned(record: LogRecord, error: Exception) -> Batch:
    # The type alone: an error's text may quote the body.
    _log.error("a postback at position %d could not be processed: %s", record.position, type(error).__name__)
    detail = f"{type(error).__name__} while the body was processed"
    return poison(record, RejectReason.PROCESSING_ERROR, detail)


class AlreadyRunningError(RuntimeError):
    """Another process handles this data directory."""


def processor_lock(paths: DataPaths, *, wait: bool) -> AbstractContextManager[None]:
    """The right to write the tables of a data directory. Raises `AlreadyRunningError` unless `wait`."""
    return directory_lock(paths.processor_lock, wait=wait)


@contextmanager
def directory_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """One of the locks of a data directory. Raises `AlreadyRunningError` unless `wait`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise AlreadyRunningError(f"{path.parent}: another sendtrace is working on this directory") from error
        yield
    finally:
        os.close(handle)


def open_loop(
    paths: DataPaths,
    *,
    reader: LogReader,
    rules: Path | None,
    clock: Clock,
    suspicion: Suspicion | None = None,
    keys: PersonalKeys = NO_KEYS,
) -> tuple[ProcessorLoop, SqliteTables]:
    """Everything wired for one data directory. The caller holds `processor_lock` and closes the tables."""
    tables = SqliteTables(paths.tables, keys.digests)
    try:  # the list outlives the tables, and the tables a file that somebody deleted
        tables.add_erasures(read_list(paths.erasures))
        add_to_list(paths.erasures, tables.erasures())
    except BaseException:
        tables.close()
        raise
    processor = PartitionProcessor(normalize=Normalizer(Classifier.load(rules)), store=tables, seal=keys.seal)
    loop = ProcessorLoop(reader=reader, tables=tables, processor=processor, clock=clock, suspicion=suspicion)
    return loop, tables


def retry_now(paths: DataPaths, *, rules: Path | None, clock: Clock, keys: PersonalKeys = NO_KEYS) -> Retried:
    """Try the requested dead letters again in this process. Raises `AlreadyRunningError` when one is at work."""
    reader = FileLogReader(paths.raw)
    with processor_lock(paths, wait=False):
        loop, tables = open_loop(paths, reader=reader, rules=rules, clock=clock, keys=keys)
        try:
            total = Retried(0, 0)
            while (done := loop.retry_dead()) != Retried(0, 0):
                total = Retried(total.applied + done.applied, total.refused + done.refused)
            return total
        finally:
            tables.close()
            reader.close()
