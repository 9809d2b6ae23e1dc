"""Deletes raw segments past their age; their counts outlive them (`segment_counts`).

Refuses to delete what has not been processed, what follows a segment that has to stay (the log
stays one piece) and the last segment, which is still written.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from ingest.segment_counts import SegmentCounts, archive_counts, closed_counts, counts_path, read_archive
from ingest.segment_files import Disk, list_segments, segment_path, sync_directory

DEFAULT_KEEP_DAYS: Final = 30
_DAY_MS: Final = 86_400_000

_log = logging.getLogger(__name__)


class Deleted(NamedTuple):
    """What one run of retention removed."""

    segments: int
    size_bytes: int


def delete_expired(
    directory: Path, *, now_ms: int, processed: int, keep_days: int = DEFAULT_KEEP_DAYS, disk: Disk | None = None
) -> Deleted:
    """Delete closed segments whose last postback is older than `keep_days` and which end at or
    before the position `processed`. One caller at a time; raises `OSError`.

    A crash leaves segments that the archive has counted; the next run removes them.
    """
    disk = disk or Disk()
    expired = list(_expired(directory, disk, now_ms - keep_days * _DAY_MS, processed))
    archive = read_archive(directory)
    archived_to = archive.end if archive is not None else 0
    uncounted = [counts for counts in expired if counts.base >= archived_to]
    if uncounted:
        archive_counts(disk, directory, uncounted)
    size_bytes = sum(_delete(directory, counts.base) for counts in expired)
    if expired:
        sync_directory(disk, directory)
        _log.info("raw log: deleted %d segments, %d bytes, all processed", len(expired), size_bytes)
    return Deleted(len(expired), size_bytes)


def _expired(directory: Path, disk: Disk, before_ms: int, processed: int) -> Iterator[SegmentCounts]:
    for base, ceiling in pairwise(list_segments(directory)):
        counts = closed_counts(directory, base, ceiling=ceiling, disk=disk)
        if counts.end > processed or counts.last_received_ms >= before_ms:
            return
        yield counts


def _delete(directory: Path, base: int) -> int:
    path = segment_path(directory, base)
    size_bytes = path.stat().st_size
    path.unlink()
    counts_path(directory, base).unlink(missing_ok=True)
    return size_bytes
