"""How many postbacks the raw log holds, by source and hour: what the audit's `accepted` rests on.

A closed segment has its counts in a small file beside it, written when it is closed; retention
folds them into one archive file before the segment goes, so the sum survives the bodies. A counts
file that is missing or fails its checksum is made again from the segment. Counts are never guessed:
when both the file and its segment are gone, that is logged and the hours are short.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import orjson

from ingest.segment_files import Disk, SegmentFile, Window, list_segments, write_whole_file
from ingest.segments import LAST_POSITION, FrameDecoder
from schemas.times import iso_ms

Counts = dict[tuple[str, str], int]  # (source, hour as ISO 8601) → postbacks
HOUR_MS: Final = 3_600_000
ARCHIVE_NAME: Final = "archive.counts.json"
_COUNTS_SUFFIX: Final = ".counts.json"
_NEVER_MS: Final = -1
_LAST_HOUR: Final = 253_402_300_799_999 // HOUR_MS  # the year 9999, the last one ISO 8601 texts sort in
_VERSION: Final = 1
_TRIES: Final = 3

_log = logging.getLogger(__name__)


class SegmentCounts(NamedTuple):
    """The counts of the positions from `base` to `end`; `last_received_ms` is -1 without records."""

    base: int
    end: int
    last_received_ms: int
    counts: Mapping[tuple[str, str], int]


class Mark(NamedTuple):
    """A place between two frames: as position, and as offset in the file (damage may part them)."""

    position: int
    offset: int


class Tally:
    """Counts while they grow: by source and hour number, which is cheaper than text."""

    __slots__ = ("_hours", "last_received_ms")

    def __init__(self) -> None:
        self._hours: dict[tuple[str, int], int] = {}
        self.last_received_ms = _NEVER_MS

    def add(self, source: str, received_ms: int) -> None:
        """One more postback."""
        key = (source, received_ms // HOUR_MS)
        self._hours[key] = self._hours.get(key, 0) + 1
        self.last_received_ms = max(self.last_received_ms, received_ms)

    def merge(self, other: Tally) -> None:
        """All that `other` counted as well."""
        for key, count in other._hours.items():
            self._hours[key] = self._hours.get(key, 0) + count
        self.last_received_ms = max(self.last_received_ms, other.last_received_ms)

    def add_window(self, window: Window, decoder: FrameDecoder, *, end: int = LAST_POSITION) -> Mark | None:
        """Count the frames of `window` before position `end`; returns where the last of them ends."""
        last = None
        for frame in window.walk.frames:
            if frame.position >= end:
                break
            self.add(decoder.source(window.buffer, frame), frame.received_ms)
            last = frame
        return last and Mark(last.position + last.size, window.offset + last.offset + last.size)

    def counts(self) -> Counts:
        """A copy, with hours as text; a time outside the calendar counts in its first or last hour."""
        result: Counts = {}
        for (source, hour), count in self._hours.items():
            add_counts(result, {(source, iso_ms(min(max(hour, 0), _LAST_HOUR) * HOUR_MS)): count})
        return result


def add_counts(total: Counts, more: Mapping[tuple[str, str], int]) -> None:
    """Add `more` to `total` in place."""
    for key, count in more.items():
        total[key] = total.get(key, 0) + count


def counts_path(directory: Path, base: int) -> Path:
    """Where the counts of the closed segment `base` lie."""
    return directory / f"{base:020d}{_COUNTS_SUFFIX}"


def list_counts(directory: Path) -> list[int]:
    """The bases of the segments that have a counts file, growing."""
    names = (path.name.removesuffix(_COUNTS_SUFFIX) for path in directory.glob(f"*{_COUNTS_SUFFIX}"))
    return sorted(int(name) for name in names if name.isdecimal())


def write_counts(disk: Disk, path: Path, counts: SegmentCounts) -> None:
    """Durably and in one step; raises `OSError`."""
    rows = sorted((source, hour, count) for (source, hour), count in counts.counts.items())
    body = [_VERSION, counts.base, counts.end, counts.last_received_ms, rows]
    packed = orjson.dumps(body)
    write_whole_file(disk, path, b'{"crc32":%d,"counts":%b}\n' % (crc32(packed), packed))


def read_counts(path: Path) -> SegmentCounts | None:
    """What `write_counts` wrote; `None` when there is no such file or it is not what was written."""
    try:
        return _parse_counts(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("raw log: %s cannot be used (%r)", path, error)
        return None


def _parse_counts(raw: bytes) -> SegmentCounts:
    content = orjson.loads(raw)
    if crc32(orjson.dumps(content["counts"])) != content["crc32"]:
        raise ValueError("the checksum is wrong")
    version, base, end, last_received_ms, rows = content["counts"]
    if version != _VERSION:
        raise ValueError(f"version {version}")
    return SegmentCounts(base, end, last_received_ms, {(source, hour): count for source, hour, count in rows})


def count_segment(directory: Path, base: int, *, ceiling: int, disk: Disk) -> SegmentCounts:
    """Count a whole closed segment by reading it; `ceiling` is the base of the next."""
    tally, decoder, mark = Tally(), FrameDecoder(), Mark(base, 0)
    segment = SegmentFile(directory, base, disk)
    try:
        for window in segment.windows(0, segment.size(), floor=base, ceiling=ceiling):
            mark = tally.add_window(window, decoder) or mark
    finally:
        segment.close()
    return SegmentCounts(base, mark.position, tally.last_received_ms, tally.counts())


def closed_counts(directory: Path, base: int, *, ceiling: int, disk: Disk) -> SegmentCounts:
    """The counts of a closed segment from its file, made again by reading if that is missing or broken."""
    path = counts_path(directory, base)
    counts = read_counts(path)
    if counts is not None and counts.base == base:
        return counts
    counts = count_segment(directory, base, ceiling=ceiling, disk=disk)
    save_counts(disk, directory, counts)
    return counts


def save_counts(disk: Disk, directory: Path, counts: SegmentCounts) -> None:
    """Write the counts of a closed segment if it can be done: they can be made again from it."""
    path = counts_path(directory, counts.base)
    try:
        write_counts(disk, path, counts)
    except OSError as error:
        _log.warning("raw log: cannot write %s (%s); it will be counted again when asked for", path, error.strerror)


def read_archive(directory: Path) -> SegmentCounts | None:
    """The counts of all that retention deleted."""
    return read_counts(directory / ARCHIVE_NAME)


def orphan_counts(directory: Path, bases: list[int], archived_to: int) -> list[SegmentCounts]:
    """The counts of segments removed by other hands than retention; `bases` are those still there."""
    there = set(bases)
    found = (read_counts(counts_path(directory, base)) for base in list_counts(directory) if base not in there)
    return [counts for counts in found if counts is not None and counts.base >= archived_to]


def archive_counts(disk: Disk, directory: Path, gone: list[SegmentCounts]) -> None:
    """Fold the counts of segments about to be deleted into the archive; raises `OSError`."""
    archive = read_archive(directory) or SegmentCounts(gone[0].base, 0, _NEVER_MS, {})
    total: Counts = dict(archive.counts)
    for counts in gone:
        add_counts(total, counts.counts)
    last_ms = max(archive.last_received_ms, *(counts.last_received_ms for counts in gone))
    write_counts(disk, directory / ARCHIVE_NAME, SegmentCounts(archive.base, gone[-1].end, last_ms, total))


class LogCounter:
    """Counts any stretch of a log; remembers closed segments and how far it counted the growing one.

    Used by one thread. The first call after a start may read segments whose counts file is missing.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._directory = directory
        self._disk = disk
        self._closed: dict[int, Mapping[tuple[str, str], int]] = {}
        self._growing: tuple[int, Mark, Tally] = (-1, Mark(0, 0), Tally())  # base, counted up to, counts
        self._decoder = FrameDecoder()

    def between(self, start: int, end: int) -> Counts:
        """Postbacks at positions from `start` to before `end`, of deleted segments too.

        A deleted segment that reaches beyond `start` counts whole: what was deleted unread must
        stay visible as missing.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._between(start, end)
            except FileNotFoundError:  # retention was faster: its counts are in the archive now
                continue
        return self._between(start, end)

    def _between(self, start: int, end: int) -> Counts:
        # The segments before the archive: one deleted in between is then seen twice, and left out here.
        bases = list_segments(self._directory)
        archive = read_archive(self._directory)
        archived_to = archive.end if archive is not None else 0
        deleted = [*([archive] if archive is not None else []), *orphan_counts(self._directory, bases, archived_to)]
        total: Counts = {}
        for counts in deleted:
            if counts.end > start and counts.base < end:
                add_counts(total, counts.counts)
        for base, ceiling in zip(bases, [*bases[1:], LAST_POSITION], strict=True):
            if archived_to <= base < end and ceiling > start:
                whole = start <= base and ceiling <= end
                add_counts(total, self._whole(base, ceiling) if whole else self._part(base, ceiling, start, end))
        return total

    def _whole(self, base: int, ceiling: int) -> Mapping[tuple[str, str], int]:
        if base not in self._closed:
            self._closed[base] = closed_counts(self._directory, base, ceiling=ceiling, disk=self._disk).counts
        return self._closed[base]

    def _part(self, base: int, ceiling: int, start: int, end: int) -> Counts:
        segment = SegmentFile(self._directory, base, self._disk)
        try:
            if start > base:
                mark = Mark(start, segment.offset_of(start, segment.size(), ceiling))
                return self._count_on(segment, mark, Tally(), ceiling, end)[1].counts()
            known_base, mark, tally = self._growing
            if known_base != base or mark.position > end:
                mark, tally = Mark(base, 0), Tally()
            self._growing = (base, *self._count_on(segment, mark, tally, ceiling, end))
            return self._growing[2].counts()
        finally:
            segment.close()

    def _count_on(self, segment: SegmentFile, mark: Mark, tally: Tally, ceiling: int, end: int) -> tuple[Mark, Tally]:
        """Count from `mark` to `end`; the tally given is the one returned."""
        if mark.position < end:
            for window in segment.windows(mark.offset, segment.size(), floor=mark.position, ceiling=ceiling):
                mark = tally.add_window(window, self._decoder, end=end) or mark
                last = window.walk.frames[-1]
                if last.position + last.size >= end:
                    break
        return mark, tally
