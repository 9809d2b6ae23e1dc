"""What the raw log's tests share: a disk that fails on order and keeps a diary, waiters, postbacks."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from ingest.file_log import FileLog, LogLimits
from ingest.file_log_reader import FileLogReader
from ingest.segment_files import Disk
from schemas.ports import PostbackLog
from schemas.postback import LogRecord, Postback
from schemas.receipts import ReceiptIds

NOON_MS = 1_700_000_000_000 // 3_600_000 * 3_600_000
NOON = "2023-11-14T22:00:00.000Z"


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class DiaryDisk(Disk):
    """A real disk that notes each call in `diary`, fails those named in `broken` with that errno,
    and takes at most `most_bytes` a write."""

    def __init__(self, diary: list[str] | None = None) -> None:
        self.diary = diary if diary is not None else []
        self.broken: dict[str, int] = {}
        self.most_bytes = 1 << 30

    def _note(self, call: str) -> None:
        self.diary.append(call)
        if call in self.broken:
            raise OSError(self.broken[call], os.strerror(self.broken[call]))

    def open(self, path: Path, flags: int) -> int:
        self._note("create" if flags & os.O_CREAT and path.suffix == ".log" else "open")
        return super().open(path, flags)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._note("write")
        return super().write(fd, data[: self.most_bytes])

    def fdatasync(self, fd: int) -> None:
        self._note("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._note("fsync")
        super().fsync(fd)

    def ftruncate(self, fd: int, size_bytes: int) -> None:
        self._note("ftruncate")
        super().ftruncate(fd, size_bytes)


class Sender:
    """Waits for one postback; `kept` is `None` until it is settled, which may happen once."""

    def __init__(self, diary: list[str] | None = None) -> None:
        self.kept: bool | None = None
        self._diary = diary
        self._settled = asyncio.Event()

    def settle(self, kept: bool) -> None:  # noqa: FBT001 (the port's signature)
        assert self.kept is None, "settled twice"
        self.kept = kept
        if self._diary is not None:
            self._diary.append(f"settle {kept}")
        self._settled.set()

    async def answer(self) -> bool:
        await asyncio.wait_for(self._settled.wait(), 10)
        assert self.kept is not None
        return self.kept


def postbacks(count: int, *, size_bytes: int = 20, source: str = "braze", at_ms: int = NOON_MS) -> list[Postback]:
    """Postbacks that differ in body and receipt id; the body begins with the number and a space."""
    ids = ReceiptIds()
    return [
        Postback(source, "braze", "postback", ids.next(at_ms), at_ms + n, "application/json", "", body)
        for n in range(count)
        for body in [(b"%d " % n).ljust(size_bytes, b".")]
    ]


def send(log: PostbackLog, sent: list[Postback], diary: list[str] | None = None) -> list[Sender]:
    senders = [Sender(diary) for _ in sent]
    for postback, sender in zip(sent, senders, strict=True):
        log.append(postback, sender)
    return senders


async def answers(senders: list[Sender]) -> list[bool]:
    return [await sender.answer() for sender in senders]


async def keep(log: FileLog, sent: list[Postback]) -> None:
    """Append and wait; all must be kept."""
    assert all(await answers(send(log, sent)))


@asynccontextmanager
async def writing(
    directory: Path, *, limits: LogLimits | None = None, disk: Disk | None = None, not_before: int = 0
) -> AsyncIterator[FileLog]:
    log = FileLog(directory, clock=SystemClock(), limits=limits, disk=disk, not_before=not_before)
    log.start()
    try:
        yield log
    finally:
        await log.close()


async def write_log(directory: Path, sent: list[Postback], *, segment_bytes: int = 1 << 26, at_once: int = 10) -> None:
    """A finished log with `sent` in it, `at_once` postbacks a batch."""
    async with writing(directory, limits=LogLimits(segment_bytes=segment_bytes)) as log:
        for start in range(0, len(sent), at_once):
            await keep(log, sent[start : start + at_once])


def records(reader: FileLogReader, position: int = 0, max_bytes: int = 10_000) -> Iterator[LogRecord]:
    """All records from `position` on, read the way a processor does."""
    while True:
        found = reader.read(position, max_bytes)
        if not found.records and found.next_position == position:
            return
        yield from found.records
        assert found.next_position > position, "a read that goes nowhere"
        position = found.next_position


def read_all(directory: Path) -> list[Postback]:
    reader = FileLogReader(directory)
    try:
        return [record.postback for record in records(reader)]
    finally:
        reader.close()


def flip(path: Path, offset: int) -> None:
    """Damage one byte of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))
