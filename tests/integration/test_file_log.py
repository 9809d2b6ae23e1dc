"""The writer on a real disk: group commit, bounds, order, reopening, one writer only."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from zlib import crc32

import pytest

from ingest.file_log import FileLog, LogLimits
from ingest.segment_directory import LogDirectoryError
from ingest.segments import FrameEncoder
from schemas.ports import PostbackLog
from tests.integration.file_log_rig import (
    DiaryDisk,
    Sender,
    SystemClock,
    answers,
    flip,
    keep,
    postbacks,
    read_all,
    segments,
    send,
    write_log,
    writing,
)

ROOT = Path(__file__).parents[2]


def _frame_bytes(size_bytes: int = 20) -> int:
    return len(FrameEncoder().encode(postbacks(1, size_bytes=size_bytes)[0], 0))


class SlowDisk(DiaryDisk):
    """Holds each fdatasync until the test lets it go."""

    def __init__(self, diary: list[str] | None = None) -> None:
        super().__init__(diary)
        self.go = threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.go.wait(10)
        super().fdatasync(fd)


def test_the_file_log_is_a_postback_log() -> None:
    log: type[PostbackLog] = FileLog
    assert log is FileLog


async def test_nothing_is_called_kept_before_its_fsync(tmp_path: Path) -> None:
    diary: list[str] = []
    async with writing(tmp_path, disk=DiaryDisk(diary)) as log:
        diary.clear()
        for _ in range(3):
            await answers(send(log, postbacks(2), diary))
    assert diary == ["write", "fdatasync", "settle True", "settle True"] * 3


async def test_what_arrives_while_a_batch_is_in_flight_rides_the_next_one(tmp_path: Path) -> None:
    disk = SlowDisk()
    async with writing(tmp_path, disk=disk) as log:
        first = send(log, postbacks(1))
        await asyncio.sleep(0.05)
        later = send(log, postbacks(500))
        await asyncio.sleep(0.05)
        assert [sender.kept for sender in first + later] == [None] * 501
        disk.go.set()
        assert all(await answers(first + later))
        assert (log.stats.batches, log.stats.records, log.stats.last_batch_records) == (2, 501, 500)


async def test_postbacks_of_one_turn_of_the_loop_share_one_fsync(tmp_path: Path) -> None:
    async with writing(tmp_path) as log:
        await keep(log, postbacks(100))
        assert (log.stats.batches, log.stats.records) == (1, 100)
        assert log.stats.size_bytes == log.durable_end


async def test_a_batch_waits_one_turn_of_the_loop_for_more(tmp_path: Path) -> None:
    async with writing(tmp_path) as log:
        first = send(log, postbacks(1))
        await asyncio.sleep(0)
        assert all(await answers(first + send(log, postbacks(1))))
        assert (log.stats.batches, log.stats.records) == (1, 2)


async def test_a_batch_waits_for_few_turns_however_much_comes(tmp_path: Path) -> None:
    async with writing(tmp_path) as log:
        (first,) = send(log, postbacks(1))
        while first.kept is None:
            send(log, postbacks(1))
            await asyncio.sleep(0)
        assert log.stats.last_batch_records < 5


async def test_records_are_in_the_order_of_the_calls(tmp_path: Path) -> None:
    sent = postbacks(1000)
    async with writing(tmp_path, limits=LogLimits(segment_bytes=3000, batch_bytes=2000)) as log:
        await keep(log, sent)
    assert read_all(tmp_path) == sent


async def test_a_batch_ends_at_its_bound_and_a_larger_postback_goes_alone(tmp_path: Path) -> None:
    sent = [*postbacks(4), *postbacks(1, size_bytes=5000), *postbacks(1)]
    two = sum(len(FrameEncoder().encode(postback, 0)) for postback in sent[:2])
    async with writing(tmp_path, limits=LogLimits(batch_bytes=two)) as log:
        await keep(log, sent)
        assert log.stats.batches == 4


async def test_a_full_queue_refuses_at_once_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    disk = SlowDisk()
    limits = LogLimits(pending_bytes=3 * _frame_bytes())
    async with writing(tmp_path, disk=disk, limits=limits) as log:
        fit = send(log, postbacks(3))
        assert not log.can_keep()
        (refused,) = send(log, postbacks(1))
        assert ([sender.kept for sender in fit], refused.kept) == ([None] * 3, False)
        disk.go.set()
        assert all(await answers(fit))
        assert log.can_keep()
        await keep(log, postbacks(3))
        assert log.stats.refused == 1


async def test_the_durable_end_is_published_before_the_answers(tmp_path: Path) -> None:
    seen: list[str] = []
    log = FileLog(tmp_path, clock=SystemClock(), on_durable=lambda end: seen.append(f"durable {end}"))
    log.start()
    await answers(send(log, postbacks(1), seen))
    await log.close()
    assert seen == [f"durable {_frame_bytes()}", "settle True"]
    assert log.durable_end == _frame_bytes()


async def test_closing_writes_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    async with writing(tmp_path, limits=LogLimits(batch_bytes=200)) as log:
        queued = send(log, postbacks(50))
        await log.close()
        assert [sender.kept for sender in queued] == [True] * 50
        (late,) = send(log, postbacks(1))
        assert late.kept is False
    assert len(read_all(tmp_path)) == 50


async def test_a_waiter_that_raises_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    class Broken(Sender):
        def settle(self, kept: bool) -> None:  # noqa: FBT001 (the port's signature)
            super().settle(kept)
            raise ZeroDivisionError

    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
    async with writing(tmp_path) as log:
        broken = Broken()
        log.append(postbacks(1)[0], broken)
        await keep(log, postbacks(3))
    assert broken.kept is True
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_reopening_goes_on_in_the_same_segment(tmp_path: Path) -> None:
    sent = postbacks(30)
    for start in (0, 10, 20):
        await write_log(tmp_path, sent[start : start + 10])
    assert read_all(tmp_path) == sent
    assert [path.name for path in segments(tmp_path)] == ["00000000000000000000.log"]


async def test_a_torn_tail_is_cut_off_and_its_positions_are_not_used_again(tmp_path: Path) -> None:
    sent = postbacks(6)
    await write_log(tmp_path, sent[:3])
    path = tmp_path / "00000000000000000000.log"
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(FrameEncoder().encode(sent[3], size)[:-1])
    async with writing(tmp_path) as log:
        assert log.recovered.torn_bytes == _frame_bytes() - 1
        assert (path.stat().st_size, log.durable_end) == (size, size)
        await keep(log, sent[4:])
    assert read_all(tmp_path) == [*sent[:3], *sent[4:]]
    assert segments(tmp_path)[1].name == f"{size + _frame_bytes() - 1:020d}.log"


async def test_a_segment_is_closed_when_it_reaches_its_size(tmp_path: Path) -> None:
    size = _frame_bytes()
    await write_log(tmp_path, postbacks(7), segment_bytes=3 * size, at_once=1)
    assert [int(path.stem) // size for path in segments(tmp_path)] == [0, 3, 6]
    assert [path.stat().st_size // size for path in segments(tmp_path)] == [3, 3, 1]


async def test_a_closed_segment_has_its_counts_beside_it(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(7), segment_bytes=3 * _frame_bytes(), at_once=1)
    names = sorted(path.name for path in tmp_path.glob("*.counts.json"))
    assert names == [f"{n * 3 * _frame_bytes():020d}.counts.json" for n in (0, 1)]


async def test_a_new_segment_is_durable_by_name_before_it_is_written(tmp_path: Path) -> None:
    diary: list[str] = []
    async with writing(tmp_path, disk=DiaryDisk(diary), limits=LogLimits(segment_bytes=1)) as log:
        await keep(log, postbacks(1))
        diary.clear()
        await keep(log, postbacks(1))
    created = diary.index("create")
    assert diary[created : created + 5] == ["create", "open", "fsync", "write", "fdatasync"]


async def test_positions_below_one_already_processed_are_never_given_out(tmp_path: Path) -> None:
    async with writing(tmp_path, not_before=10_000) as log:
        await keep(log, postbacks(1))
        assert log.durable_end == 10_000 + _frame_bytes()
    assert len(read_all(tmp_path)) == 1


async def test_a_log_older_than_what_was_processed_goes_on_behind_it(tmp_path: Path) -> None:
    sent = postbacks(3)
    await write_log(tmp_path, sent[:2])
    async with writing(tmp_path, not_before=10_000) as log:
        assert log.durable_end == 2 * _frame_bytes()
        await keep(log, sent[2:])
    assert read_all(tmp_path) == sent
    assert [int(path.stem) for path in segments(tmp_path)] == [0, 10_000]


async def test_what_recovery_accepts_is_written_and_synced_again(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(5))
    written: list[tuple[int, bytes]] = []

    class Watched(DiaryDisk):
        def pwrite(self, fd: int, data: bytes, offset: int) -> int:
            written.append((offset, data))
            return super().pwrite(fd, data, offset)

    disk = Watched()
    async with writing(tmp_path, disk=disk):
        assert written == [(0, segments(tmp_path)[0].read_bytes())]
        assert "fsync" in disk.diary


async def test_a_second_writer_is_refused_with_one_line(tmp_path: Path) -> None:
    async with writing(tmp_path):
        with pytest.raises(LogDirectoryError) as refusal:
            FileLog(tmp_path, clock=SystemClock())
    assert str(tmp_path) in str(refusal.value)
    assert f"another sendtrace (process {os.getpid()})" in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_closed_log_can_be_opened_by_the_next_writer(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(1))
    await write_log(tmp_path, postbacks(1))
    assert len(read_all(tmp_path)) == 2


async def test_foreign_files_are_named_once_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "99999999999999999999.log").write_text("no position is that large")
    with caplog.at_level(logging.WARNING):
        await write_log(tmp_path, postbacks(2))
    assert len(caplog.records) == 1
    assert "2 files" in caplog.text
    assert "notes.txt" in caplog.text
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(read_all(tmp_path)) == 2


async def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    leftovers = [tmp_path / "probe.tmp", tmp_path / "00000000000000000000.counts.json.77.tmp"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    await write_log(tmp_path, postbacks(1))
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_file_in_the_directorys_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(LogDirectoryError, match=r"cannot use .*/raw: File exists.*choose another data directory"):
        FileLog(tmp_path / "raw", clock=SystemClock())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", ["directory", "segment"])
def test_a_directory_of_another_user_is_one_clear_line(closed: str) -> None:
    script = (
        "import os, sys; from pathlib import Path; from ingest.file_log import FileLog; "
        "from tests.integration.file_log_rig import SystemClock; os.seteuid(65534); "
        "FileLog(Path(sys.argv[1]), clock=SystemClock())"
    )
    with tempfile.TemporaryDirectory() as room:
        raw = Path(room) / "raw"
        asyncio.run(write_log(raw, postbacks(1)))
        for path in (Path(room), raw, raw / "lock"):
            path.chmod(0o777)
        (raw if closed == "directory" else segments(raw)[0]).chmod(0o700)
        command = [sys.executable, "-c", script, str(raw)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = run.stderr.splitlines()[-1]
    assert "LogDirectoryError: raw log: cannot use" in last
    assert "Permission denied (owned by user 0, sendtrace runs as user 65534)" in last


async def test_a_log_of_a_newer_sendtrace_is_refused_not_cut(tmp_path: Path) -> None:
    await write_log(tmp_path, postbacks(1))
    (path,) = segments(tmp_path)
    frame = bytearray(path.read_bytes())
    frame[12] = 9
    frame[8:12] = crc32(frame[12:]).to_bytes(4, "little")
    path.write_bytes(frame)
    with pytest.raises(LogDirectoryError, match="a frame of version 9"):
        FileLog(tmp_path, clock=SystemClock())
    assert path.read_bytes() == frame


async def test_a_damaged_last_segment_gets_no_more_records(tmp_path: Path) -> None:
    sent = postbacks(6)
    await write_log(tmp_path, sent[:4])
    flip(segments(tmp_path)[0], _frame_bytes() + 60)
    async with writing(tmp_path) as log:
        assert log.recovered.damaged_bytes == _frame_bytes()
        await keep(log, sent[4:])
    assert read_all(tmp_path) == [sent[0], *sent[2:]]
    assert len(segments(tmp_path)) == 2


def test_a_batch_larger_than_recovery_makes_durable_is_refused() -> None:
    assert LogLimits(batch_bytes=16 * 1024 * 1024).batch_bytes
    with pytest.raises(ValueError, match="batch_bytes"):
        LogLimits(batch_bytes=16 * 1024 * 1024 + 1)
