"""The reader beside the writer: positions, slices, bounds, gaps, damage, what retention deleted."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

import pytest

from ingest.file_log_reader import ExpiredPositionError, FileLogReader
from ingest.segment_retention import delete_expired
from ingest.segments import FrameEncoder
from schemas.ports import LogReader
from tests.integration.file_log_rig import (
    NOON_MS,
    DiaryDisk,
    answers,
    flip,
    keep,
    postbacks,
    read_all,
    records,
    segments,
    send,
    write_log,
    writing,
)

FRAME = len(FrameEncoder().encode(postbacks(1)[0], 0))
MONTHS_LATER_MS = NOON_MS + 90 * 86_400_000


async def _thirty(directory: Path) -> None:
    """Thirty records in ten segments of three."""
    await write_log(directory, postbacks(30), segment_bytes=3 * FRAME, at_once=1)


def _numbers(reader: FileLogReader, position: int = 0, max_bytes: int = 10_000) -> list[int]:
    return [int(record.postback.body.split()[0]) for record in records(reader, position, max_bytes)]


def test_the_file_log_reader_is_a_log_reader(tmp_path: Path) -> None:
    reader: LogReader = FileLogReader(tmp_path)
    assert reader.read(0, 100).records == ()


@pytest.mark.parametrize("max_bytes", [1, FRAME - 1, FRAME, 2 * FRAME + 1, 1 << 20])
async def test_slices_of_any_size_give_every_record_once(tmp_path: Path, max_bytes: int) -> None:
    await _thirty(tmp_path)
    assert _numbers(FileLogReader(tmp_path), 0, max_bytes) == list(range(30))


async def test_a_slice_holds_no_more_than_asked_for_but_one_record_at_least(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(10))
    reader = FileLogReader(tmp_path)
    assert [len(reader.read(0, size).records) for size in (1, FRAME, 2 * FRAME - 1, 2 * FRAME)] == [1, 1, 1, 2]


async def test_reading_can_begin_at_every_position_a_record_had(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    positions = [record.position for record in records(FileLogReader(tmp_path))]
    assert positions == [number * FRAME for number in range(30)]
    for number, position in enumerate(positions):
        assert _numbers(FileLogReader(tmp_path), position) == list(range(number, 30))


async def test_nothing_is_read_past_the_durable_end(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    reader = FileLogReader(tmp_path)
    for count in (0, 1, 3, 4, 30):
        reader.durable_end = count * FRAME
        assert _numbers(reader) == list(range(count))


async def test_a_reader_follows_a_writer_from_segment_to_segment(tmp_path: Path) -> None:
    sent = postbacks(30)
    async with writing(tmp_path) as log:
        log._writer._segment_bytes = 4 * FRAME
        reader, position, found = FileLogReader(tmp_path, durable_end=0), 0, []
        for postback in sent:
            await keep(log, [postback])
            assert reader.read(position, 1000).records == ()
            reader.durable_end = log.durable_end
            records_, position = reader.read(position, 1000)
            found += [record.postback for record in records_]
    assert found == sent


async def test_bytes_not_yet_durable_are_not_seen(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, postbacks(1))
        reader = FileLogReader(tmp_path, durable_end=log.durable_end)
        disk.broken = {"fdatasync": errno.EIO, "ftruncate": errno.EIO}
        await answers(send(log, postbacks(1)))
        assert segments(tmp_path)[0].stat().st_size > log.durable_end
        assert _numbers(reader) == [0]
        disk.broken = {}


async def test_positions_lost_with_a_failed_batch_are_passed_over(tmp_path: Path) -> None:
    disk, sent = DiaryDisk(), postbacks(3)
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent[:1])
        disk.broken = {"fdatasync": errno.EIO}
        assert await answers(send(log, sent[1:2])) == [False]
        disk.broken = {}
        await keep(log, sent[2:])
        reader = FileLogReader(tmp_path, durable_end=log.durable_end)
    assert [record.position for record in records(reader)] == [0, 2 * FRAME]
    assert reader.read(FRAME, 1000).records[0].position == 2 * FRAME
    assert reader.damaged_bytes == 0


async def test_damage_is_counted_once_however_often_it_is_passed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await _thirty(tmp_path)
    flip(segments(tmp_path)[1], FRAME + 70)
    reader = FileLogReader(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert _numbers(reader) == [n for n in range(30) if n != 4]
    assert reader.damaged_bytes == FRAME
    assert len(caplog.records) == 1


async def test_a_closed_segment_cut_short_is_damage_not_a_gap(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    with segments(tmp_path)[1].open("ab") as file:
        file.truncate(FRAME)
    reader = FileLogReader(tmp_path)
    assert _numbers(reader) == [n for n in range(30) if n not in {4, 5}]
    assert reader.damaged_bytes == 2 * FRAME


async def test_a_durable_end_that_cannot_be_reached_is_damage_not_an_endless_wait(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(3))
    flip(segments(tmp_path)[0], 2 * FRAME + 5)
    reader = FileLogReader(tmp_path, durable_end=3 * FRAME)
    assert _numbers(reader) == [0, 1]
    assert reader.read(2 * FRAME, 1000) == ((), 3 * FRAME)
    assert reader.damaged_bytes == FRAME


async def test_a_bad_sector_costs_only_the_records_on_it(tmp_path: Path) -> None:
    class Scratched(DiaryDisk):
        def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
            if offset < 8192 and offset + size_bytes > 4096:
                raise OSError(errno.EIO, "Input/output error")
            return super().pread(fd, size_bytes, offset)

    await write_log(tmp_path, postbacks(200))
    reader = FileLogReader(tmp_path, disk=Scratched())
    assert _numbers(reader) == [n for n in range(200) if (n + 1) * FRAME <= 4096 or n * FRAME >= 8192]
    assert reader.damaged_bytes >= 4096


async def test_bytes_slipped_in_move_no_position(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    path = segments(tmp_path)[2]
    content = path.read_bytes()
    path.write_bytes(content[:FRAME] + b"stranger" + content[FRAME:])
    for number in range(30):
        assert _numbers(FileLogReader(tmp_path), number * FRAME) == list(range(number, 30))
    assert FileLogReader(tmp_path).body_at(8 * FRAME) == postbacks(9)[8].body


async def test_a_segment_whose_records_moved_is_searched_once_not_for_every_slice(tmp_path: Path) -> None:
    read_bytes = 0

    class Watched(DiaryDisk):
        def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
            nonlocal read_bytes
            content = super().pread(fd, size_bytes, offset)
            read_bytes += len(content)
            return content

    await write_log(tmp_path, postbacks(1000), at_once=1000)
    path = segments(tmp_path)[0]
    path.write_bytes(b"stranger" + path.read_bytes())
    assert _numbers(FileLogReader(tmp_path, disk=Watched())) == list(range(1000))
    assert read_bytes < 5 * path.stat().st_size


async def test_a_body_is_found_by_its_position(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    reader = FileLogReader(tmp_path)
    assert [reader.body_at(number * FRAME) for number in range(30)] == [sent.body for sent in postbacks(30)]


async def test_there_is_no_body_between_records_behind_the_end_or_in_a_deleted_segment(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    delete_expired(tmp_path, now_ms=MONTHS_LATER_MS, processed=3 * FRAME)
    reader = FileLogReader(tmp_path)
    assert [reader.body_at(position) for position in (0, 4 * FRAME + 1, 30 * FRAME, 2**62)] == [None] * 4
    reader.durable_end = 5 * FRAME
    assert reader.body_at(5 * FRAME) is None


async def test_postbacks_deleted_unread_are_an_error_that_says_where_to_go_on(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    delete_expired(tmp_path, now_ms=MONTHS_LATER_MS, processed=6 * FRAME)
    reader = FileLogReader(tmp_path)
    with pytest.raises(ExpiredPositionError, match=f"position 42 was deleted .* goes on at {6 * FRAME}") as expired:
        reader.read(42, 1000)
    assert _numbers(reader, expired.value.next_position) == list(range(6, 30))
    assert reader.first_position() == 6 * FRAME


async def test_a_deleted_position_that_was_read_to_its_end_is_no_error(tmp_path: Path) -> None:
    disk, sent = DiaryDisk(), postbacks(6)
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent[:3])
        disk.broken = {"fdatasync": errno.EIO}
        await answers(send(log, sent[3:4]))
        disk.broken = {}
        await keep(log, sent[4:])
        assert delete_expired(tmp_path, now_ms=MONTHS_LATER_MS, processed=3 * FRAME).segments == 1
        reader = FileLogReader(tmp_path, durable_end=log.durable_end)
    assert _numbers(reader, 3 * FRAME) == [4, 5]


async def test_a_segment_removed_by_hand_before_it_was_read_is_an_error(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    segments(tmp_path)[4].unlink()
    with pytest.raises(ExpiredPositionError) as expired:
        _numbers(FileLogReader(tmp_path))
    assert (expired.value.position, expired.value.next_position) == (12 * FRAME, 15 * FRAME)


async def test_segments_deleted_under_a_reader_do_not_confuse_it(tmp_path: Path) -> None:
    await _thirty(tmp_path)
    reader = FileLogReader(tmp_path)
    position = reader.read(0, 1 << 20).next_position
    delete_expired(tmp_path, now_ms=MONTHS_LATER_MS, processed=9 * FRAME)
    with pytest.raises(ExpiredPositionError) as expired:
        _numbers(reader, position)
    assert _numbers(reader, expired.value.next_position) == list(range(9, 30))


async def test_the_end_is_the_last_whole_frame_when_nobody_writes(tmp_path: Path) -> None:
    assert FileLogReader(tmp_path).end_position() == 0
    await _thirty(tmp_path)
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(b"torn")
    assert FileLogReader(tmp_path).end_position() == 30 * FRAME
    assert FileLogReader(tmp_path, durable_end=77).end_position() == 77


async def test_a_torn_tail_is_not_called_damage_while_nobody_has_repaired_it(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(3))
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"torn")
    reader = FileLogReader(tmp_path)
    assert len(_numbers(reader)) == 3
    assert reader.damaged_bytes == 0
    assert len(read_all(tmp_path)) == 3
