"""Writes batches of frames into segments: what the log's one writer thread does, and nothing else.

A batch is durable after `write` returned true, and only then. A segment in which a write or fsync
failed is never trusted again: it is cut back to its last durable byte and closed, and the next batch
begins a new one at its own position. Positions lost with a failed batch are never used again, so a
position names the same bytes for ever, for whoever may have seen them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ingest.segment_counts import SegmentCounts, Tally, save_counts
from ingest.segment_directory import ONLY_PEOPLE_CAN_FIX
from ingest.segment_files import TEMPORARY_SUFFIX, Disk, segment_path, sync_directory, write_all
from ingest.segment_recovery import Recovered
from schemas.ports import Clock

_PROBE_BYTES: Final = 64 * 1024

_log = logging.getLogger(__name__)


class _Spoiled(NamedTuple):
    """A segment with bytes behind its durable end that must go before anything else is written."""

    base: int
    durable_bytes: int
    tally: Tally


class SegmentWriter:
    """Owns the segment that grows. Used by one thread (at the start by the one that made it)."""

    def __init__(self, directory: Path, recovered: Recovered, *, segment_bytes: int, disk: Disk, clock: Clock) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._clock = clock
        self._base = recovered.base or 0
        self._size = recovered.size_bytes
        self._tally = recovered.tally
        self._spoiled: _Spoiled | None = None
        self._fd = -1
        if recovered.base is not None:
            self._fd = disk.open(segment_path(directory, recovered.base), os.O_WRONLY | os.O_APPEND)
        self.failing = False
        self.last_fsync_s = 0.0

    def begin(self, position: int) -> None:
        """`ready_for` at the start: raises only what a person must put right, the rest is retried."""
        try:
            self.ready_for(position)
        except OSError as error:
            if error.errno in ONLY_PEOPLE_CAN_FIX:
                raise
            self._fail(error)

    def ready_for(self, position: int) -> None:
        """Have a sound segment open in which `position` comes next; raises `OSError`."""
        if self._spoiled is not None:
            self._cut_back(self._spoiled)
        if self._fd >= 0 and (self._size >= self._segment_bytes or self._base + self._size != position):
            self._seal()
        if self._fd < 0:
            self._create(position)

    def write(self, position: int, parts: Sequence[bytes], tally: Tally) -> bool:
        """Make the frames in `parts`, the first at `position`, durable. Never raises: false if not."""
        try:
            data = b"".join(parts)
            self.ready_for(position)
            write_all(self._disk, self._fd, data)
            started_s = self._clock.monotonic_s()
            self._disk.fdatasync(self._fd)
            self.last_fsync_s = self._clock.monotonic_s() - started_s
        except Exception as error:  # noqa: BLE001 (whatever it was: not durable, and whoever waits must hear it)
            self._fail(error)
            return False
        self._size += len(data)
        self._tally.merge(tally)
        self._well()
        return True

    def probe(self, position: int) -> bool:
        """Whether the disk takes and keeps bytes again, tried without a postback at stake."""
        path = self._directory / f"probe{TEMPORARY_SUFFIX}"
        try:
            self.ready_for(position)
            fd = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                write_all(self._disk, fd, bytes(_PROBE_BYTES))
                self._disk.fdatasync(fd)
            finally:
                os.close(fd)
                path.unlink()
        except Exception as error:  # noqa: BLE001 (as above: the thread must live to try again)
            self._fail(error)
            return False
        self._well()
        return True

    def close(self) -> None:
        """Let go of the segment; a later writer goes on with it."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # what counts was fsynced; the descriptor is gone either way
                os.close(self._fd)
            self._fd = -1

    def _create(self, position: int) -> None:
        path = segment_path(self._directory, position)
        fd = self._disk.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        try:
            sync_directory(self._disk, self._directory)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        self._fd, self._base, self._size, self._tally = fd, position, 0, Tally()

    def _seal(self) -> None:
        """Close a sound segment for good."""
        self.close()
        self._closed(self._base, self._size, self._tally)

    def _closed(self, base: int, size_bytes: int, tally: Tally) -> None:
        if size_bytes == 0:  # a name without content would only make the directory longer
            segment_path(self._directory, base).unlink(missing_ok=True)
        else:
            counts = SegmentCounts(base, base + size_bytes, tally.last_received_ms, tally.counts())
            save_counts(self._disk, self._directory, counts)

    def _fail(self, error: Exception) -> None:
        if not self.failing:
            self.failing = True
            where = self._directory
            _log.error("raw log: cannot write to %s: %r; nothing is answered 200 until it can be", where, error)
        if self._fd >= 0:
            self.close()
            self._spoiled = _Spoiled(self._base, self._size, self._tally)
            with contextlib.suppress(OSError):  # tried again before the next batch
                self._cut_back(self._spoiled)

    def _cut_back(self, spoiled: _Spoiled) -> None:
        """Remove what is not durable; the cut itself is durable before any later position is."""
        if spoiled.durable_bytes:
            fd = self._disk.open(segment_path(self._directory, spoiled.base), os.O_WRONLY)
            try:
                self._disk.ftruncate(fd, spoiled.durable_bytes)
                self._disk.fsync(fd)
            finally:
                os.close(fd)
        self._closed(spoiled.base, spoiled.durable_bytes, spoiled.tally)
        self._spoiled = None

    def _well(self) -> None:
        if self.failing:
            self.failing = False
            _log.warning("raw log: %s can be written again, from position %d on", self._directory, self._base)
