"""Reads the raw log of one directory, from this process or another, also while it is written.

Refuses to read past the durable end it was told of. Damage, gaps and positions never used are
passed over; postbacks that retention deleted before they were read are an error, not a gap.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from ingest.segment_counts import Counts, LogCounter, counts_path, orphan_counts, read_archive, read_counts
from ingest.segment_files import Disk, SegmentFile, Window, list_segments
from ingest.segments import LAST_POSITION, Frame, FrameDecoder
from schemas.postback import LogRecord, LogSlice

_LEAST_WINDOW_BYTES: Final = 4096

_log = logging.getLogger(__name__)


class ExpiredPositionError(Exception):
    """Postbacks between `position` and `next_position` were deleted before they were read."""

    def __init__(self, position: int, next_position: int) -> None:
        super().__init__(
            f"raw log: position {position} was deleted before it was read, the log goes on at {next_position}; "
            "keep raw segments longer, or begin there"
        )
        self.position = position
        self.next_position = next_position


class _Place(NamedTuple):
    """Where a position lies: remembered, because after damage it is not position - base."""

    base: int
    position: int
    offset: int


class FileLogReader:
    """A `LogReader` on segment files, and the counts of the audit. Used by one thread.

    `durable_end` is set by the caller, from what the writer published, as often as it learns more.
    `None`: nobody is writing, and the log ends with its last whole frame.
    """

    def __init__(self, directory: Path, *, durable_end: int | None = None, disk: Disk | None = None) -> None:
        self.durable_end = durable_end
        self.damaged_bytes = 0  # passed over so far; a damaged stretch counts once
        self._directory = directory
        self._disk = disk or Disk()
        self._decoder = FrameDecoder()
        self._counter = LogCounter(directory, self._disk)
        self._bases: list[int] = []
        self._segment: SegmentFile | None = None
        self._place = _Place(-1, 0, 0)
        self._damage_counted_to = 0

    def read(self, position: int, max_bytes: int) -> LogSlice:
        """See `LogReader`. Frames of at most `max_bytes` together, but one at least. Raises `OSError`
        and `ExpiredPositionError`; after the latter, go on at its `next_position`."""
        listed = False
        while self.durable_end is None or position < self.durable_end:
            base, following = self._around(position)
            try:
                found = self._read_segment(base, following, position, max_bytes) if base is not None else None
            except FileNotFoundError:  # deleted since the directory was read
                self._bases = list_segments(self._directory)
                continue
            if found is not None:
                return found
            if following is not None:
                position = self._cross(position, base, following)
            elif listed:
                return self._last_word(position)
            else:  # only a look at the directory tells whether the log goes on in a new segment
                self._bases, listed = list_segments(self._directory), True
        return LogSlice((), position)

    def body_at(self, position: int) -> bytes | None:
        """The body of the record at exactly `position`; `None` when its segment was deleted or it is damaged."""
        self._bases = list_segments(self._directory)
        base, following = self._around(position)
        if base is None or (self.durable_end is not None and position >= self.durable_end):
            return None
        try:
            segment = SegmentFile(self._directory, base, self._disk)
        except FileNotFoundError:
            return None
        with closing(segment):
            record = self._record_at(segment, position, following or LAST_POSITION)
        return record.postback.body if record is not None and record.position == position else None

    def first_position(self) -> int:
        """Where the oldest segment begins: everything before it is gone."""
        return min(list_segments(self._directory), default=0)

    def end_position(self) -> int:
        """The durable end, or where the last whole frame ends if nobody is writing (scans one segment)."""
        if self.durable_end is not None:
            return self.durable_end
        base = max(list_segments(self._directory), default=None)
        if base is None:
            return 0
        end = base
        with closing(SegmentFile(self._directory, base, self._disk)) as segment:
            for window in segment.windows(0, segment.size(), floor=base, ceiling=LAST_POSITION):
                end = window.walk.frames[-1].position + window.walk.frames[-1].size
        return end

    def count_by_hour(self, end: int) -> Counts:
        """Postbacks kept before position `end`, by source and hour, since the log began."""
        return self._counter.between(0, end)

    def count_from(self, position: int, end: int) -> Counts:
        """Postbacks from `position` to before `end`, by source and hour: what is pending."""
        return self._counter.between(position, end)

    def close(self) -> None:
        """Give the open segment back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _around(self, position: int) -> tuple[int | None, int | None]:
        """The segment `position` lies in and the one after, as far as known."""
        index = bisect_right(self._bases, position)
        return (
            self._bases[index - 1] if index else None,
            self._bases[index] if index < len(self._bases) else None,
        )

    def _read_segment(self, base: int, following: int | None, position: int, max_bytes: int) -> LogSlice | None:
        """What there is from `position` on; `None` if there is nothing whole."""
        segment = self._opened(base)
        end = segment.size()
        ceiling = following or LAST_POSITION
        at_once = max(max_bytes, _LEAST_WINDOW_BYTES)
        offset = self._offset(segment, position, end, ceiling)
        for window in segment.windows(offset, end, floor=position, ceiling=ceiling, window_bytes=at_once):
            for damage in window.walk.damage:
                self._damaged(base + window.offset + damage.offset, damage.size_bytes)
            return self._take(base, window, max_bytes)
        self._place = _Place(base, position, offset)
        return None

    def _take(self, base: int, window: Window, max_bytes: int) -> LogSlice:
        frames = window.walk.frames
        if len(window.buffer) > max_bytes:
            limit = frames[0].offset + max_bytes
            frames = frames[: max(1, bisect_right(frames, limit, key=_frame_end))]
        if self.durable_end is not None:  # whole as they look, later ones may be on no disk
            frames = frames[: bisect_left(frames, self.durable_end, key=_frame_position)]
        if not frames:
            return LogSlice((), self.durable_end or 0)
        last = frames[-1]
        self._place = _Place(base, last.position + last.size, window.offset + _frame_end(last))
        return LogSlice([self._decoder.decode(window.buffer, frame) for frame in frames], self._place.position)

    def _offset(self, segment: SegmentFile, position: int, end: int, ceiling: int) -> int:
        place = self._place
        if (place.base, place.position) == (segment.base, position):
            return place.offset
        return segment.offset_of(position, end, ceiling)

    def _opened(self, base: int) -> SegmentFile:
        if self._segment is None or self._segment.base != base:
            self.close()
            self._segment = SegmentFile(self._directory, base, self._disk)
        return self._segment

    def _record_at(self, segment: SegmentFile, position: int, ceiling: int) -> LogRecord | None:
        window = segment.frame_at(position)
        if window is None:
            end = segment.size()
            offset = segment.offset_of(position, end, ceiling)
            window = next(segment.windows(offset, end, floor=position, ceiling=ceiling), None)
        return self._decoder.decode(window.buffer, window.walk.frames[0]) if window is not None else None

    def _cross(self, position: int, base: int | None, following: int) -> int:
        """Go from `position`, where nothing follows in segment `base`, to the next segment."""
        if base is not None:
            place, size = self._place, self._opened(base).size()
            counts = read_counts(counts_path(self._directory, base))
            missing = counts.end - position if counts is not None else 0
            self._damaged(position, max(size - place.offset, missing))
        if following > position:
            self._refuse_unread(position, base, following)
        return following

    def _last_word(self, position: int) -> LogSlice:
        """Nothing whole follows in the last segment: damage if more was said to be durable."""
        if self.durable_end is None:
            return LogSlice((), position)
        self._damaged(position, self.durable_end - position)
        return LogSlice((), self.durable_end)

    def _refuse_unread(self, position: int, base: int | None, following: int) -> None:
        archive = read_archive(self._directory)
        archived_to = archive.end if archive is not None else 0
        gone = orphan_counts(self._directory, self._bases, archived_to)
        archived = base is None and archived_to > position
        if archived or any(position < counts.end <= following for counts in gone):
            raise ExpiredPositionError(position, following)

    def _damaged(self, position: int, size_bytes: int) -> None:
        if size_bytes > 0 and position >= self._damage_counted_to:
            self.damaged_bytes += size_bytes
            self._damage_counted_to = position + 1
            _log.warning("raw log: passed over %d damaged bytes at position %d", size_bytes, position)


def _frame_end(frame: Frame) -> int:
    return frame.offset + frame.size


def _frame_position(frame: Frame) -> int:
    return frame.position
