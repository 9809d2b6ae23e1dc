"""The raw log's files: names, whole writes, reading a segment through damage and bad sectors.

A segment is named by the position of its first byte, so position = name + offset. All calls to the
file system that can fail with the disk go through `Disk`, the seam where tests make them fail.
"""

from __future__ import annotations

import errno
import os
import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ingest.segments import LAST_POSITION, MAX_FRAME_BYTES, PREFIX_BYTES, Walk, claimed_size, walk

TEMPORARY_SUFFIX: Final = ".tmp"
WINDOW_BYTES: Final = 1024 * 1024
_SECTOR_BYTES: Final = 4096
_SEGMENT_NAME: Final = re.compile(r"(\d{20})\.log")
FILE_MODE: Final = 0o640  # bodies hold personal data: nobody else's business


class Disk:
    """The file system calls of the raw log, as `os` has them: thin on purpose."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor, close-on-exec; a new file is readable by its owner and group."""
        return os.open(path, flags, FILE_MODE)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """May write less than asked."""
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        """Returns when data and size are on the disk."""
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """The same with all metadata; for directories and cut files."""
        os.fsync(fd)

    def ftruncate(self, fd: int, size_bytes: int) -> None:
        """Cut the file to `size_bytes`."""
        os.ftruncate(fd, size_bytes)

    def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
        """May read less than asked, at the end of the file."""
        return os.pread(fd, size_bytes, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """Never for a descriptor opened with O_APPEND: Linux then ignores the offset."""
        return os.pwrite(fd, data, offset)


def segment_path(directory: Path, base: int) -> Path:
    """`raw/00000000000000000000.log`."""
    return directory / f"{base:020d}.log"


def segment_base(name: str) -> int | None:
    """The position in a segment's file name, `None` for any other name."""
    match = _SEGMENT_NAME.fullmatch(name)
    base = int(match.group(1)) if match else None
    return base if base is None or base <= LAST_POSITION else None


def list_segments(directory: Path) -> list[int]:
    """The bases of the segments there are, growing."""
    return sorted(base for path in directory.iterdir() if (base := segment_base(path.name)) is not None)


def sync_directory(disk: Disk, directory: Path) -> None:
    """Make new and removed names durable: a file's own fsync does not promise its name."""
    fd = disk.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        disk.fsync(fd)
    finally:
        os.close(fd)


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Write every byte, however often the kernel takes only some; raises `OSError`."""
    written = disk.write(fd, data)
    rest = memoryview(data)[written:]
    while rest:
        count = disk.write(fd, rest)
        if count == 0:  # not an error to the kernel; to go on asking would be for ever
            raise OSError(errno.EIO, "the disk takes no more bytes")
        rest = rest[count:]


def write_whole_file(disk: Disk, path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durably and in one step: a reader sees the old or the new file."""
    # The process id in the name: a reader may repair the same file at the same time.
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    fd = disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, fd, data)
        disk.fdatasync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_directory(disk, path.parent)


def read_through(disk: Disk, fd: int, size_bytes: int, offset: int) -> bytes:
    """Read, with zeros for the sectors the disk cannot give back: they count as damage, and the
    rest is still read. Shorter than asked only at the end of the file."""
    try:
        return disk.pread(fd, size_bytes, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    parts: list[bytes] = []
    for at in range(offset, offset + size_bytes, _SECTOR_BYTES):
        wanted = min(_SECTOR_BYTES, offset + size_bytes - at)
        try:
            part = disk.pread(fd, wanted, at)
        except OSError:
            part = bytes(min(wanted, max(0, os.fstat(fd).st_size - at)))
        parts.append(part)
        if len(part) < wanted:
            break
    return b"".join(parts)


class Window(NamedTuple):
    """A stretch of a segment: `buffer` lies at `offset` of the file, `walk` says what is in it."""

    offset: int
    buffer: bytes
    walk: Walk


class SegmentFile:
    """One segment, open for reading. `base` is its name; not thread-safe."""

    __slots__ = ("_disk", "_fd", "base")

    def __init__(self, directory: Path, base: int, disk: Disk) -> None:
        """Raises `FileNotFoundError` when there is no such segment (any more)."""
        self.base = base
        self._disk = disk
        self._fd = disk.open(segment_path(directory, base), os.O_RDONLY)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def size(self) -> int:
        """Bytes in the file now; the last segment grows."""
        return os.fstat(self._fd).st_size

    def windows(
        self, offset: int, end: int, *, floor: int, ceiling: int, window_bytes: int = WINDOW_BYTES
    ) -> Iterator[Window]:
        """The whole frames between two offsets, in windows that hold at least one each.

        A window grows until it holds a frame or ends at `end`, so one frame or one damaged stretch
        may be larger than `window_bytes`. What follows the last window holds no whole frame.
        """
        wanted = window_bytes
        while offset < end:
            asked = min(wanted, end - offset)
            buffer = read_through(self._disk, self._fd, asked, offset)
            final = len(buffer) < asked or offset + len(buffer) >= end
            result = walk(buffer, floor=floor, ceiling=ceiling, final=final)
            if result.frames:
                last = result.frames[-1]
                yield Window(offset, buffer, result)
                offset, floor, wanted = offset + result.resume, last.position + last.size, window_bytes
            elif final:
                return
            else:
                wanted *= 2

    def frame_at(self, position: int) -> Window | None:
        """The frame of `position` where it should be, in a window of its own; `None` if it is not there."""
        offset = position - self.base
        size = claimed_size(read_through(self._disk, self._fd, PREFIX_BYTES, offset))
        if not PREFIX_BYTES <= size <= min(MAX_FRAME_BYTES, self.size() - offset):
            return None
        window = next(self.windows(offset, offset + size, floor=position, ceiling=position + size), None)
        return window if window is not None and window.walk.frames[0].offset == 0 else None

    def offset_of(self, position: int, end: int, ceiling: int) -> int:
        """Where the first frame at or behind `position` begins; `end` if there is none before it.

        Usually position - base. Bytes lost or slipped in before it move a frame, and damage or the
        end of the segment hide it; then all of the segment is searched, once.
        """
        if position <= self.base:
            return 0
        if self.frame_at(position) is not None:
            return position - self.base
        for window in self.windows(0, end, floor=self.base, ceiling=ceiling):
            positions = [frame.position for frame in window.walk.frames]
            if positions[-1] >= position:
                return window.offset + window.walk.frames[bisect_left(positions, position)].offset
        return end
