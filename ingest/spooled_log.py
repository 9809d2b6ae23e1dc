"""A raw log that goes on when its broker does not: what Kafka will not take now is fsynced here and sent later.

Kafka first; down, slow or refusing, a postback goes to a spool of segment files (the same as the
embedded raw log) and is answered 200 from there. When the broker is back, new postbacks go to it
directly while the spool drains beside them, in order per key. Refuses (settles `False`) only when
the spool is full or its disk fails, and takes up again by itself when that is over.

At least once: a postback whose batch failed may have been written all the same, and a kill repeats
what was drained last. Both have the receipt id they had, and the lifecycle folds them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.file_log import FileLog, LogLimits
from ingest.file_log_reader import ExpiredPositionError, FileLogReader
from ingest.segment_files import Disk, list_segments
from ingest.segment_retention import delete_expired
from schemas.ports import Clock, PostbackLog, Waiter
from schemas.postback import LogRecord, Postback

_SLICE_BYTES: Final = 256 * 1024
_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_POLL_S: Final = 0.2
_SEGMENTS: Final = "segments"
_DRAINED_FILE: Final = "drained"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SpoolStats:
    """Counters since the start, for metrics."""

    spooled: int = 0
    drained: int = 0
    full: int = 0


class _OrSpool:
    """Waits for Kafka; what it did not keep goes to the spool, whose word is then the sender's."""

    __slots__ = ("_log", "_postback", "_waiter")

    def __init__(self, log: SpooledLog, postback: Postback, waiter: Waiter) -> None:
        self._log = log
        self._postback = postback
        self._waiter = waiter

    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        if kept:
            self._waiter.settle(True)
        else:
            self._log.spool(self._postback, self._waiter)


class _Slice:
    """Waits for all of a slice; `unkept` are the records that must be sent again, in order."""

    def __init__(self, records: Sequence[LogRecord]) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.unkept: list[LogRecord] = []
        self._left = len(records)

    def settled(self, record: LogRecord, *, kept: bool) -> None:
        if not kept:
            self.unkept.append(record)
        self._left -= 1
        if not self._left:
            self.done.set_result(None)


class _Rider:
    """One record of a slice."""

    __slots__ = ("_record", "_slice")

    def __init__(self, slice_: _Slice, record: LogRecord) -> None:
        self._slice = slice_
        self._record = record

    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        self._slice.settled(self._record, kept=kept)


class SpooledLog:
    """A `PostbackLog` in front of another one, with a spool in `directory` of at most `most_bytes`.

    Opening it may block like opening a `FileLog` and raises `LogDirectoryError`. What an earlier
    process left in the spool is drained first thing.
    """

    def __init__(
        self,
        log: PostbackLog,
        directory: Path,
        *,
        clock: Clock,
        most_bytes: int,
        segment_bytes: int = _SEGMENT_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self.stats = SpoolStats()
        self._main = log
        self._directory = directory
        self._segments = directory / _SEGMENTS
        self._clock = clock
        self._most_bytes = most_bytes
        self._drained = _read_drained(directory)
        self._unkept: list[LogRecord] = []  # of the slice in hand, which ends at `_slice_end`
        self._slice_end = self._drained
        directory.mkdir(parents=True, exist_ok=True)
        self._spool = FileLog(
            self._segments,
            clock=clock,
            on_durable=self._grown,
            limits=LogLimits(segment_bytes=segment_bytes),
            disk=disk,
            not_before=self._drained,
        )
        self._reader = FileLogReader(self._segments, durable_end=self._spool.durable_end)
        self._draining: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin, on the running event loop. The log in front is started by who made it."""
        self._spool.start()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    @property
    def waiting_bytes(self) -> int:
        """What lies in the spool and is not yet with the broker."""
        return max(0, self._spool.durable_end - self._drained)

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """See `PostbackLog`."""
        if self._main.can_keep():
            self._main.append(postback, _OrSpool(self, postback, waiter))
        else:
            self.spool(postback, waiter)

    def can_keep(self) -> bool:
        """Whether the broker is there, or room in a spool whose disk works."""
        return self._main.can_keep() or (self._spool.can_keep() and self.waiting_bytes < self._most_bytes)

    def spool(self, postback: Postback, waiter: Waiter) -> None:
        """Keep it here for now; settles `False` when there is no room or the disk fails."""
        if self.waiting_bytes >= self._most_bytes:
            self.stats.full += 1
            waiter.settle(False)
            return
        self.stats.spooled += 1
        self._spool.append(postback, waiter)

    async def close(self) -> None:
        """Make durable and settle what is queued; the rest of the spool waits for the next start.

        Close the log in front first: what it cannot keep any more comes here.
        """
        if self._closing:
            return
        self._closing = True
        if self._draining is not None:
            self._draining.cancel()
            with suppress(asyncio.CancelledError):
                await self._draining
        await self._spool.close()
        self._reader.close()

    def _grown(self, end: int) -> None:
        self._reader.durable_end = end

    async def _drain(self) -> None:
        """Slice after slice to the broker, for as long as there is one; nobody waits for it."""
        while True:
            try:
                moved = self._main.can_keep() and await self._drain_slice()
            except ExpiredPositionError as error:
                _log.error("spool: %s", error)
                self._slice_end = error.next_position
                moved = True
            except OSError as error:
                _log.error("spool: %s: %s; trying again", self._directory, error)
                moved = False
            if not moved:
                await asyncio.sleep(_POLL_S)

    async def _drain_slice(self) -> bool:
        """Send the slice in hand, or note that it is sent, or take up the next; whether there was one."""
        if not self._unkept and self._slice_end > self._drained:
            self._forget_to(self._slice_end)
        if not self._unkept:
            found = self._reader.read(self._drained, _SLICE_BYTES)
            self._unkept, self._slice_end = list(found.records), found.next_position
        if not self._unkept:
            return self._slice_end > self._drained
        sent = len(self._unkept)
        self._unkept = await self._send(self._unkept)
        self.stats.drained += sent - len(self._unkept)
        return not self._unkept

    async def _send(self, records: Sequence[LogRecord]) -> list[LogRecord]:
        """Those the broker did not keep, still in order: of a key it keeps the first ones or none."""
        slice_ = _Slice(records)
        for record in records:
            self._main.append(record.postback, _Rider(slice_, record))
        await slice_.done
        return sorted(slice_.unkept, key=lambda record: record.position)

    def _forget_to(self, position: int) -> None:
        """Everything before `position` is with the broker: note it, and give whole segments back to the disk."""
        self._drained = position
        try:
            _write_drained(self._directory, position)
            if len(list_segments(self._segments)) > 1:
                delete_expired(self._segments, now_ms=self._clock.now_ms() + 1, processed=position, keep_days=0)
        except OSError as error:
            # The next start drains from where the file says: repeats, no loss.
            _log.warning("spool: %s: %s", self._directory, error)


def _read_drained(directory: Path) -> int:
    try:
        return int((directory / _DRAINED_FILE).read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _write_drained(directory: Path, position: int) -> None:
    """Not fsynced: what a power cut takes back is drained once more."""
    fresh = directory / f"{_DRAINED_FILE}.new"
    fresh.write_text(f"{position}", encoding="ascii")
    fresh.replace(directory / _DRAINED_FILE)
