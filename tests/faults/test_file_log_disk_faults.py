"""Disks that fail, fill up, take half (F16–F18): never a false 200, and well again without a restart."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.file_log import FileLog, LogLimits
from ingest.file_log_reader import FileLogReader
from tests.integration.file_log_rig import (
    DiaryDisk,
    SystemClock,
    answers,
    keep,
    postbacks,
    read_all,
    records,
    segments,
    send,
    write_log,
    writing,
)

CALLS = ["write", "fdatasync", "create", "fsync", "open"]
QUICK = LogLimits(probe_interval_s=0.05)


async def _until_well(log: FileLog, within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while not log.can_keep():  # noqa: ASYNC110 (readiness is asked for, as a probe does)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["write", "fdatasync"])
async def test_a_failed_batch_is_refused_and_the_next_one_kept(tmp_path: Path, call: str, code: int) -> None:
    disk, sent = DiaryDisk(), postbacks(9)
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent[:3])
        disk.broken = {call: code}
        assert await answers(send(log, sent[3:6])) == [False] * 3
        disk.broken = {}
        await keep(log, sent[6:])
        assert log.stats.failed_batches == 1
    assert read_all(tmp_path) == sent[:3] + sent[6:]


async def test_a_segment_that_failed_is_cut_back_and_never_written_again(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, postbacks(3))
        (spoiled,) = segments(tmp_path)
        durable = spoiled.read_bytes()
        disk.broken = {"fdatasync": errno.EIO}
        await answers(send(log, postbacks(3)))
        assert spoiled.read_bytes() == durable
        disk.broken = {}
        await keep(log, postbacks(3))
    assert spoiled.read_bytes() == durable
    assert len(segments(tmp_path)) == 2


async def test_nothing_is_kept_until_the_failed_segment_could_be_cut(tmp_path: Path) -> None:
    disk, sent = DiaryDisk(), postbacks(5)
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent[:1])
        disk.broken = {"fdatasync": errno.EIO, "ftruncate": errno.EIO}
        assert await answers(send(log, sent[1:2])) == [False]
        disk.broken = {"ftruncate": errno.EIO}
        assert await answers(send(log, sent[2:4])) == [False] * 2
        disk.broken = {}
        await keep(log, sent[4:])
    assert read_all(tmp_path) == [sent[0], sent[4]]


async def test_a_disk_that_stays_broken_leaves_no_files_behind(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk) as log:
        disk.broken = {"fdatasync": errno.EIO}
        for _ in range(50):
            assert await answers(send(log, postbacks(1))) == [False]
    assert segments(tmp_path) == []


@pytest.mark.parametrize("most_bytes", [1, 7, 100])
async def test_short_writes_are_finished(tmp_path: Path, most_bytes: int) -> None:
    disk, sent = DiaryDisk(), postbacks(5)
    disk.most_bytes = most_bytes
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent)
    assert read_all(tmp_path) == sent


async def test_a_disk_that_takes_no_bytes_and_reports_no_error_is_a_failure(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk) as log:
        disk.most_bytes = 0
        assert await answers(send(log, postbacks(1))) == [False]


async def test_readiness_comes_back_without_a_postback_to_try_it_on(tmp_path: Path) -> None:
    disk = DiaryDisk()
    async with writing(tmp_path, disk=disk, limits=QUICK) as log:
        disk.broken = {"fdatasync": errno.EIO}
        await answers(send(log, postbacks(1)))
        await asyncio.sleep(0.2)
        assert not log.can_keep()
        disk.broken = {}
        await _until_well(log)
    assert not (tmp_path / "probe.tmp").exists()


async def test_an_error_nobody_thought_of_is_a_refusal_and_not_the_threads_end(tmp_path: Path) -> None:
    class Odd(DiaryDisk):
        def fdatasync(self, fd: int) -> None:
            if "odd" in self.broken:
                raise RuntimeError("odd")
            super().fdatasync(fd)

    disk = Odd()
    async with writing(tmp_path, disk=disk) as log:
        disk.broken = {"odd": 1}
        assert await answers(send(log, postbacks(1))) == [False]
        disk.broken = {}
        await keep(log, postbacks(1))


async def test_a_start_on_a_disk_without_room_serves_refusals_and_recovers(tmp_path: Path) -> None:
    disk = DiaryDisk()
    disk.broken = {"create": errno.ENOSPC}
    async with writing(tmp_path, disk=disk, limits=QUICK) as log:
        assert not log.can_keep()
        assert await answers(send(log, postbacks(1))) == [False]
        disk.broken = {}
        await _until_well(log)
        await keep(log, postbacks(1))


@pytest.mark.parametrize("seed", range(4))
async def test_of_many_random_failures_none_costs_a_kept_record(tmp_path: Path, seed: int) -> None:
    dice, disk, sent = random.Random(seed), DiaryDisk(), postbacks(300)
    kept = []
    async with writing(tmp_path, disk=disk, limits=LogLimits(segment_bytes=2000)) as log:
        for start in range(0, 300, 3):
            broken = dice.sample(CALLS, dice.choice([0, 1, 1, 2]))
            disk.broken = {call: dice.choice([errno.EIO, errno.ENOSPC]) for call in broken}
            batch = sent[start : start + 3]
            verdicts = await answers(send(log, batch))
            kept += [postback for postback, kept_ in zip(batch, verdicts, strict=True) if kept_]
        disk.broken = {}
        reader = FileLogReader(tmp_path, durable_end=log.durable_end)
        assert [record.postback for record in records(reader)] == kept
        assert sum(reader.count_by_hour(log.durable_end).values()) == len(kept)
        assert reader.damaged_bytes == 0
    assert 50 < len(kept) < 250


async def test_a_crash_after_a_failure_that_could_not_be_cleaned_up_loses_nothing_kept(tmp_path: Path) -> None:
    disk, sent = DiaryDisk(), postbacks(4)
    async with writing(tmp_path, disk=disk) as log:
        await keep(log, sent[:2])
        disk.broken = {"fdatasync": errno.EIO, "ftruncate": errno.EIO}
        await answers(send(log, sent[2:3]))
    await write_log(tmp_path, sent[3:])
    assert read_all(tmp_path) in ([*sent[:2], sent[3]], sent)  # a refused one may survive, never twice


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte of its own."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"mounting is not permitted here: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_full_disk_refuses_and_takes_again_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    log = FileLog(small_disk / "raw", clock=SystemClock(), limits=QUICK)
    log.start()
    kept = []
    verdict = True
    for postback in postbacks(2000, size_bytes=4000):
        (verdict,) = await answers(send(log, [postback]))
        if not verdict:
            break
        kept.append(postback)
    assert not verdict
    assert not log.can_keep()
    assert kept
    ballast.unlink()
    await _until_well(log)
    late = postbacks(20, size_bytes=4000, source="late")
    await keep(log, late)
    await log.close()
    assert read_all(small_disk / "raw") == kept + late
