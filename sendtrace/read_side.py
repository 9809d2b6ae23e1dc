"""What the admin surface may see of a running sendtrace: its tables, its raw log and live numbers.

Nothing here changes anything. The numbers are read where they are counted, at the moment they are
asked for; nothing is copied or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from ingest.counters import Counters
from ingest.file_log import LogStats
from ingest.file_log_reader import FileLogReader
from schemas.records import Audit
from sendtrace.audit import CountedTopic, audit
from sendtrace.notify_reports import NotifyReport
from sinks.tables.tables_reader import TablesReader

Counts = Mapping[tuple[str, str], int]


class Readable(Protocol):
    """What the read API and most of the page need, embedded or on Kafka."""

    @property
    def reader(self) -> TablesReader:
        """The tables."""
        ...

    def body_at(self, position: int) -> bytes | None:
        """The body at a position of the raw log, or `None`."""
        ...

    def audit(self) -> Audit:
        """The account of this moment."""
        ...


class RawTopic(CountedTopic, Protocol):
    """The raw topic (`sendtrace.kafka_log_view.KafkaLogView`, which imports the client: not everybody needs that)."""

    def body_at(self, position: int) -> bytes | None:
        """The exact body at a `raw_position`, or `None`."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class LogView:
    """The raw log of one directory for any number of threads; empty while there is no directory.

    `durable_end` gives the position up to which the log is durable, or `None` where it is another
    process that writes it, or none: then the log ends with its last whole record. May block on the
    disk; raises `OSError`. Counting and reading bodies do not wait for each other.
    """

    def __init__(self, directory: Path, *, durable_end: Callable[[], int | None]) -> None:
        self._directory = directory
        self._durable_end = durable_end
        self._counting = FileLogReader(directory)
        self._reading = FileLogReader(directory)
        self._counting_lock = Lock()
        self._reading_lock = Lock()

    def body_at(self, position: int) -> bytes | None:
        """The exact body at `position`; `None` once retention has deleted it."""
        if not self._directory.is_dir():
            return None
        with self._reading_lock:
            self._reading.durable_end = self._durable_end()
            return self._reading.body_at(position)

    def end_position(self) -> int:
        """Where the log ends now."""
        end = self._durable_end()
        if end is not None:
            return end
        if not self._directory.is_dir():
            return 0
        with self._counting_lock:
            return self._counting.end_position()

    def count_by_hour(self, end: int) -> Counts:
        """Bodies kept before `end`, by source and hour. The first call may read a segment or more."""
        return self.count_from(0, end)

    def count_from(self, position: int, end: int) -> Counts:
        """Bodies kept from `position` to before `end`, by source and hour."""
        if position >= end or not self._directory.is_dir():
            return {}
        with self._counting_lock:
            return self._counting.count_from(position, end)

    def close(self) -> None:
        """Give the files back."""
        for lock, reader in ((self._counting_lock, self._counting), (self._reading_lock, self._reading)):
            with lock:
                reader.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSide:
    """Everything the admin surface is made of. The callables are cheap, do not block and are called from any thread."""

    reader: TablesReader
    log: LogView
    gateway_counters: Callable[[], Counters]
    log_stats: Callable[[], LogStats]
    durable_end: Callable[[], int]
    processor_restarts: Callable[[], int]
    processor_alive: Callable[[], bool]
    can_keep: Callable[[], bool]
    #: `None` where there are no targets.
    notifications: Callable[[], NotifyReport] | None = None
    #: What the incident step has not had yet.
    incidents_waiting: Callable[[], int] = lambda: 0

    def body_at(self, position: int) -> bytes | None:
        """See `LogView`."""
        return self.log.body_at(position)

    def audit(self) -> Audit:
        """Does everything accepted add up? See `sendtrace.audit`."""
        return audit(self.reader, self.log)


@dataclass(frozen=True, slots=True)
class KafkaReadSide:
    """What `sendtrace web` is made of: the tables of the sink, and the raw topic for bodies and what is pending."""

    reader: TablesReader
    log: RawTopic

    def body_at(self, position: int) -> bytes | None:
        """See `RawTopic`."""
        return self.log.body_at(position)

    def audit(self) -> Audit:
        """The same. Raises `BrokerError` besides."""
        return audit(self.reader, self.log)
