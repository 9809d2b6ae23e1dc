"""Makes the end of the raw log sound before a writer goes on: what a crash or damage left behind.

Only the last segment is looked at: all others were closed after their last fsync. A torn tail is
cut off; damage in the middle is left where it is, for readers to pass over, and reported.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

from ingest.segment_counts import Mark, SegmentCounts, Tally, save_counts
from ingest.segment_files import Disk, SegmentFile, list_segments, segment_path
from ingest.segments import LAST_POSITION, MAX_FRAME_BYTES, FrameDecoder

_log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """The log as a writer finds it.

    `end` is where its last whole frame ends, `next_position` the first position never given out.
    `base` is the segment to go on with, `None` when a new one must begin; `size_bytes` its size and
    `tally` its counts.
    """

    end: int
    next_position: int
    base: int | None
    size_bytes: int
    tally: Tally
    records: int = 0
    torn_bytes: int = 0
    damaged_bytes: int = 0


class _Scan(NamedTuple):
    tally: Tally
    mark: Mark
    records: int
    damaged_bytes: int
    shifted: bool


def recover(directory: Path, disk: Disk) -> Recovered:
    """Scan the last segment, cut its torn tail, make the rest durable. Raises `OSError`, and
    `FrameVersionError` for a log written by a newer sendtrace.

    A segment with damage or a torn tail gets no more records, and the positions of the bytes cut
    off are not given out again: a processor may have read and passed them before they broke.
    """
    bases = list_segments(directory)
    if not bases:
        return Recovered(0, 0, None, 0, Tally())
    base = bases[-1]
    scan, size = _scan(directory, base, disk)
    torn = size - scan.mark.offset
    _make_durable(disk, segment_path(directory, base), scan.mark.offset, torn_bytes=torn)
    if not torn and not scan.damaged_bytes and not scan.shifted:
        return Recovered(scan.mark.position, scan.mark.position, base, size, scan.tally, scan.records)
    _report(segment_path(directory, base), scan, torn)
    counts = SegmentCounts(base, scan.mark.position, scan.tally.last_received_ms, scan.tally.counts())
    save_counts(disk, directory, counts)
    after = max(scan.mark.position, base + size)
    return Recovered(scan.mark.position, after, None, 0, Tally(), scan.records, torn, scan.damaged_bytes)


def _scan(directory: Path, base: int, disk: Disk) -> tuple[_Scan, int]:
    tally, decoder, mark = Tally(), FrameDecoder(), Mark(base, 0)
    records = damaged = 0
    segment = SegmentFile(directory, base, disk)
    try:
        size = segment.size()
        for window in segment.windows(0, size, floor=base, ceiling=LAST_POSITION):
            mark = tally.add_window(window, decoder) or mark
            records += len(window.walk.frames)
            damaged += sum(damage.size_bytes for damage in window.walk.damage)
    finally:
        segment.close()
    return _Scan(tally, mark, records, damaged, mark.position - base != mark.offset), size


def _make_durable(disk: Disk, path: Path, size_bytes: int, *, torn_bytes: int) -> None:
    """Cut the file to `size_bytes` and put its last bytes on the disk, whatever happened before.

    What the scan read may be in memory only: a process killed before its fsync leaves it there, and
    after a failed fsync Linux calls the pages clean, so that another fsync alone would write
    nothing. Writing the same bytes over themselves makes the next fsync real. No more than one batch
    can be in doubt, and a batch is never larger than the largest frame.
    """
    fd = disk.open(path, os.O_RDWR)
    try:
        if torn_bytes:
            disk.ftruncate(fd, size_bytes)
        start = max(0, size_bytes - MAX_FRAME_BYTES)
        while start < size_bytes:
            chunk = disk.pread(fd, min(1024 * 1024, size_bytes - start), start)
            start += disk.pwrite(fd, chunk, start)
        disk.fsync(fd)
    finally:
        os.close(fd)


def _report(path: Path, scan: _Scan, torn_bytes: int) -> None:
    if torn_bytes:
        _log.warning("raw log: %s ended in %d unfinished or broken bytes, cut off", path, torn_bytes)
    if scan.damaged_bytes:
        _log.warning("raw log: %s has %d damaged bytes; the records around them are sound", path, scan.damaged_bytes)
