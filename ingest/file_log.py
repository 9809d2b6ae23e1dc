"""The durable raw log on files: postbacks are kept once their batch is fsynced, not before.

One event loop appends, one thread writes: postbacks that arrive while a batch is on its way to the
disk ride the next one, so the number of fsyncs does not grow with the load. Refuses to queue beyond
its bounds (settles `False` at once), to share its directory with a second writer, and to call
anything kept that was not fsynced.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final

from ingest.segment_counts import Tally
from ingest.segment_directory import LogDirectoryError, explain, take_directory
from ingest.segment_files import Disk
from ingest.segment_recovery import Recovered, recover
from ingest.segment_writer import SegmentWriter
from ingest.segments import MAX_FRAME_BYTES, FrameEncoder, FrameVersionError
from schemas.ports import Clock, Waiter
from schemas.postback import Postback

_GATHERING_TURNS: Final = 2  # of the loop, that a batch may wait for more to join it


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """The bounds of a `FileLog`. `pending_bytes` counts frames not yet durable, in flight included."""

    segment_bytes: int = 64 * 1024 * 1024
    batch_bytes: int = 4 * 1024 * 1024
    pending_bytes: int = 64 * 1024 * 1024
    probe_interval_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.batch_bytes <= MAX_FRAME_BYTES:
            raise ValueError(f"batch_bytes must lie between 1 and {MAX_FRAME_BYTES}")  # what recovery makes durable


@dataclass(slots=True)
class LogStats:
    """Counters since the start, for metrics."""

    batches: int = 0
    records: int = 0
    size_bytes: int = 0
    failed_batches: int = 0
    refused: int = 0
    last_batch_records: int = 0
    fsync_s: float = 0.0


class _Batch:
    """Frames in one piece of the log, and who waits for them. Without frames it is a probe."""

    __slots__ = ("fsync_s", "kept", "parts", "position", "size_bytes", "tally", "waiters")

    def __init__(self, position: int) -> None:
        self.position = position
        self.size_bytes = 0
        self.parts: list[bytes] = []
        self.waiters: list[Waiter] = []
        self.tally = Tally()
        self.kept = False
        self.fsync_s = 0.0


class FileLog:
    """Keeps postbacks in the segment files of one directory; a `PostbackLog`.

    Opening takes the directory's lock, repairs the end of the log and may block for a second;
    `LogDirectoryError` says in one line what a person must change. `start()` then binds it to the
    running event loop, on which everything else must be called.

    `on_durable(end)` is called on the loop after each durable batch: readers may read up to `end`.
    `not_before` is a position already processed elsewhere: the log never gives out a smaller one,
    also when its directory was emptied or restored.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        on_durable: Callable[[int], None] = lambda _end: None,
        limits: LogLimits | None = None,
        disk: Disk | None = None,
        not_before: int = 0,
    ) -> None:
        self._limits = limits or LogLimits()
        disk = disk or Disk()
        self._lock_fd = take_directory(directory, disk)
        try:
            self.recovered = _recover(directory, disk, not_before)
            self._writer = SegmentWriter(
                directory, self.recovered, segment_bytes=self._limits.segment_bytes, disk=disk, clock=clock
            )
            self._writer.begin(self.recovered.next_position)
        except OSError as error:
            os.close(self._lock_fd)
            raise explain(error, directory) from error
        except LogDirectoryError:
            os.close(self._lock_fd)
            raise
        self.durable_end = self.recovered.end
        self._next_position = self.recovered.next_position
        self.stats = LogStats()
        self._on_durable = on_durable
        self._encode = FrameEncoder().encode
        self._failing = self._writer.failing
        self._queue: deque[_Batch] = deque()
        self._pending_bytes = 0
        self._busy = False  # a batch is in flight, or one is about to be taken from the queue
        self._closing = False
        self._idle: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to write, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._write_batches, args=(self._loop,), name="raw-log", daemon=True)
        self._thread.start()
        self._wake()
        if self._failing:
            self._probe_later()

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """Queue one postback; see `PostbackLog`. Raises `ValueError` for what no log of ours can
        hold (`FrameEncoder.encode`): the gateway's limits must lie below."""
        position = self._next_position
        frame = self._encode(postback, position)
        size = len(frame)
        if self._closing or self._pending_bytes + size > self._limits.pending_bytes:
            self.stats.refused += 1
            waiter.settle(False)
            return
        self._next_position = position + size
        self._pending_bytes += size
        batch = self._queue[-1] if self._queue else None
        if batch is None or batch.size_bytes + size > self._limits.batch_bytes:
            batch = _Batch(position)
            self._queue.append(batch)
        batch.size_bytes += size
        batch.parts.append(frame)
        batch.waiters.append(waiter)
        batch.tally.add(postback.source, postback.received_ms)
        if not self._busy:
            self._wake()

    def can_keep(self) -> bool:
        """Whether the disk took the last batch or probe, and there is room to wait."""
        return not self._failing and not self._closing and self._pending_bytes < self._limits.pending_bytes

    async def close(self) -> None:
        """Write and settle what is queued, stop the thread, release the directory. Waits for the
        disk however long it takes; later appends are settled `False`."""
        if self._closing:
            return
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._busy:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        self._inbox.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._writer.close()
        os.close(self._lock_fd)

    def _wake(self) -> None:
        """Take the queue at the end of this turn of the loop: what else arrives in it goes along."""
        if self._loop is not None and self._queue:
            self._busy = True
            self._loop.call_soon(self._next_batch)

    def _next_batch(self, had_bytes: int = 0, turns: int = 0) -> None:
        """Give the thread a batch: a whole one at once, the last one when a turn of the loop added nothing to it.

        The thread gets the interpreter only while the loop waits for its sockets. A loop with more to
        read and a thread with a batch to write wake one another in vain between any two reads, which
        costs more than the fsync; so what is about to be read is read first, for a few turns at most.
        """
        if self._loop is not None and self._queue:
            batch = self._queue[0]
            if len(self._queue) == 1 and batch.size_bytes > had_bytes and turns < _GATHERING_TURNS:
                self._loop.call_soon(self._next_batch, batch.size_bytes, turns + 1)
            else:
                self._inbox.put(self._queue.popleft())
            return
        self._busy = False
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _write_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: as little Python as possible, the loop waits for it while it runs."""
        while (batch := self._inbox.get()) is not None:
            if batch.parts:
                batch.kept = self._writer.write(batch.position, batch.parts, batch.tally)
                batch.fsync_s = self._writer.last_fsync_s
            else:
                batch.kept = self._writer.probe(batch.position)
            try:
                loop.call_soon_threadsafe(self._landed, batch)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _landed(self, batch: _Batch) -> None:
        self._pending_bytes -= batch.size_bytes
        self._count(batch)
        if batch.kept and batch.parts:
            self.durable_end = batch.position + batch.size_bytes
        if not batch.kept and not self._failing:
            self._probe_later()
        self._failing = not batch.kept
        if batch.kept and batch.parts:
            self._tell(batch)
        for waiter in batch.waiters:
            try:
                waiter.settle(batch.kept)
            except Exception as error:  # noqa: BLE001 (one broken waiter must not keep the others waiting)
                self._report(error)
        # Answers first: most senders have their next request ready before the last one is answered.
        self._next_batch()

    def _tell(self, batch: _Batch) -> None:
        try:
            self._on_durable(batch.position + batch.size_bytes)
        except Exception as error:  # noqa: BLE001 (the batch is kept, and its senders must hear so)
            self._report(error)

    def _report(self, error: Exception) -> None:
        if self._loop is not None:
            self._loop.call_exception_handler({"message": "raw log: a callback failed", "exception": error})

    def _probe_later(self) -> None:
        if self._loop is not None and not self._closing:
            self._timer = self._loop.call_later(self._limits.probe_interval_s, self._probe)

    def _probe(self) -> None:
        """Without this, a log whose users turn away while it cannot keep would never notice that it can."""
        if not self._failing:
            return
        if not self._busy:
            self._busy = True
            self._inbox.put(_Batch(self._next_position))
        self._probe_later()

    def _count(self, batch: _Batch) -> None:
        if not batch.kept:
            self.stats.failed_batches += 1
        elif batch.parts:
            self.stats.batches += 1
            self.stats.records += len(batch.parts)
            self.stats.size_bytes += batch.size_bytes
            self.stats.last_batch_records = len(batch.parts)
            self.stats.fsync_s += batch.fsync_s


def _recover(directory: Path, disk: Disk, not_before: int) -> Recovered:
    try:
        recovered = recover(directory, disk)
    except FrameVersionError as error:
        raise LogDirectoryError(f"raw log: {directory} holds {error}; run the sendtrace that wrote it") from error
    return recovered._replace(next_position=max(recovered.next_position, not_before))
