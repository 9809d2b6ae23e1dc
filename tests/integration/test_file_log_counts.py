"""The audit's counts and retention: what was kept adds up, also after the bodies are gone."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ingest.file_log_reader import FileLogReader
from ingest.segment_counts import HOUR_MS
from ingest.segment_files import SegmentFile
from ingest.segment_retention import Deleted, delete_expired
from ingest.segments import FrameEncoder
from schemas.postback import Postback
from tests.integration.file_log_rig import NOON, NOON_MS, DiaryDisk, flip, keep, postbacks, segments, write_log, writing

FRAME = len(FrameEncoder().encode(postbacks(1)[0], 0))
LATER = "2023-11-14T23:00:00.000Z"
DAY_MS = 86_400_000
COUNTED = {("braze", NOON): 10, ("nrs36", NOON): 10, ("braze", LATER): 10}


def _sent() -> list[Postback]:
    """Ten of one source, ten of another, ten an hour later: all frames of the same length."""
    return [*postbacks(10), *postbacks(10, source="nrs36"), *postbacks(10, at_ms=NOON_MS + HOUR_MS)]


async def _thirty(directory: Path) -> None:
    await write_log(directory, _sent(), segment_bytes=4 * FRAME, at_once=1)


def _expected(start: int, end: int) -> dict[tuple[str, str], int]:
    expected: dict[tuple[str, str], int] = {}
    for postback in _sent()[start:end]:
        key = (postback.source, NOON if postback.received_ms < NOON_MS + HOUR_MS else LATER)
        expected[key] = expected.get(key, 0) + 1
    return expected


async def test_everything_kept_is_counted_by_source_and_hour(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED


async def test_any_stretch_of_the_log_can_be_counted(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    reader = FileLogReader(tmp_path)
    for start in range(31):
        for end in range(start, 31):
            assert reader.count_from(start * FRAME, end * FRAME) == _expected(start, end), (start, end)


async def test_counts_grow_with_the_log(tmp_path: Path) -> None:
    reader = FileLogReader(tmp_path)
    async with writing(tmp_path) as log:
        log._writer._segment_bytes = 4 * FRAME
        for count, postback in enumerate(_sent(), start=1):
            await keep(log, [postback])
            assert reader.count_by_hour(log.durable_end) == _expected(0, count)


async def test_the_growing_segment_is_read_once_not_every_time(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(10))
    reads: list[int] = []

    class Watched(DiaryDisk):
        def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
            reads.append(offset)
            return super().pread(fd, size_bytes, offset)

    reader = FileLogReader(tmp_path, disk=Watched())
    for _ in range(3):
        assert reader.count_by_hour(10 * FRAME) == {("braze", NOON): 10}
    assert reads == [0]


async def test_a_counts_file_that_is_missing_or_broken_is_made_again(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    files = sorted(tmp_path.glob("*.counts.json"))
    contents = [file.read_bytes() for file in files]
    files[0].unlink()
    flip(files[1], 15)
    files[2].write_text("[]")
    files[3].write_text("")
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED
    assert [file.read_bytes() for file in files] == contents


async def test_closed_segments_are_counted_without_opening_them(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    for path in segments(tmp_path)[:-1]:
        path.write_bytes(b"")
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED


async def test_a_batch_that_failed_is_not_counted(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, postbacks(3))
        disk.broken = {"fdatasync": errno.EIO}
        with pytest.raises(AssertionError):
            await keep(log, postbacks(5))
        disk.broken = {}
        await keep(log, postbacks(1))
        assert FileLogReader(tmp_path).count_by_hour(log.durable_end) == {("braze", NOON): 4}


async def test_counts_outlive_the_segments_retention_deletes(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    for processed in (9, 9, 20, 30):
        delete_expired(tmp_path, now_ms=NOON_MS + 90 * DAY_MS, processed=processed * FRAME)
        assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED
    assert len(segments(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["archive.counts.json"]


async def test_counts_of_a_segment_removed_by_hand_stay(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    segments(tmp_path)[2].unlink()
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED


async def test_a_crash_between_archiving_and_deleting_counts_nothing_twice(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    doomed = {path: path.read_bytes() for path in tmp_path.glob("*[0-9].*")}
    delete_expired(tmp_path, now_ms=NOON_MS + 90 * DAY_MS, processed=9 * FRAME)
    for path, content in doomed.items():
        path.write_bytes(content)
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED
    assert delete_expired(tmp_path, now_ms=NOON_MS + 90 * DAY_MS, processed=9 * FRAME).segments == 2
    assert FileLogReader(tmp_path).count_by_hour(30 * FRAME) == COUNTED


async def test_retention_never_deletes_what_is_not_processed(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    far = NOON_MS + 9999 * DAY_MS
    for processed, segments_left in [(0, 8), (4 * FRAME - 1, 8), (4 * FRAME, 7), (11 * FRAME, 6), (12 * FRAME, 5)]:
        delete_expired(tmp_path, now_ms=far, processed=processed)
        assert len(segments(tmp_path)) == segments_left


async def test_retention_never_deletes_the_segment_that_is_written(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    assert delete_expired(tmp_path, now_ms=NOON_MS + 9999 * DAY_MS, processed=2**62) == Deleted(7, 28 * FRAME)
    assert [path.stat().st_size for path in segments(tmp_path)] == [2 * FRAME]


async def test_retention_keeps_a_segment_until_its_last_postback_is_old_enough(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    last_of_first_ms = NOON_MS + 3
    for now_ms, deleted in [(last_of_first_ms + 30 * DAY_MS, 0), (last_of_first_ms + 30 * DAY_MS + 1, 1)]:
        assert delete_expired(tmp_path, now_ms=now_ms, processed=2**62).segments == deleted


async def test_a_log_goes_on_at_its_position_when_all_else_was_deleted(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    delete_expired(tmp_path, now_ms=NOON_MS + 90 * DAY_MS, processed=2**62)
    await write_log(tmp_path, postbacks(1))
    assert FileLogReader(tmp_path).end_position() == 31 * FRAME


async def test_counting_does_not_open_bodies_of_deleted_segments_it_raced_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _thirty(tmp_path)
    reader, opened = FileLogReader(tmp_path), SegmentFile.__init__

    def delete_first(self: SegmentFile, directory: Path, base: int, disk: DiaryDisk) -> None:
        monkeypatch.setattr(SegmentFile, "__init__", opened)
        delete_expired(tmp_path, now_ms=NOON_MS + 90 * DAY_MS, processed=8 * FRAME)
        opened(self, directory, base, disk)

    monkeypatch.setattr(SegmentFile, "__init__", delete_first)
    assert reader.count_by_hour(6 * FRAME) == {("braze", NOON): 8}
