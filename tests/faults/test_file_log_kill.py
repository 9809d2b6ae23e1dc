"""A writer killed, and its disk cut off, at random moments (F15, F20): whatever it reported as kept
is read, once and in order."""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.file_log import FileLog
from tests.integration.file_log_rig import SystemClock, read_all

KILLS = 20
POWER_CUTS = 3
IMAGE_BYTES = 16 * 1024 * 1024
START_S = 20
ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("SENDTRACE_SEED", "20240817"))

# Appends numbers from argv[2] on, a few a turn of the loop, and prints each as it is settled.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from ingest.file_log import FileLog, LogLimits
from tests.integration.file_log_rig import SystemClock
from schemas.postback import Postback
from schemas.receipts import ReceiptIds

class Say:
    def __init__(self, number): self.number = number
    def settle(self, kept):
        if kept: os.write(1, b"%d\\n" % self.number)

async def main(number):
    log = FileLog(Path(sys.argv[1]), clock=SystemClock(), limits=LogLimits(segment_bytes=20_000, batch_bytes=5_000))
    log.start()
    ids = ReceiptIds()
    while True:
        for _ in range(number % 7):
            body = b"%d " % number + bytes(number % 900)
            log.append(Postback("s", "braze", "postback", ids.next(number), number, "", "", body), Say(number))
            number += 1
        number += 1
        await asyncio.sleep(0)

asyncio.run(main(int(sys.argv[2])))
"""


@contextmanager
def _writer(directory: Path, first: int, run_s: float) -> Iterator[tuple[subprocess.Popen[bytes], bytearray]]:
    """A writer that has run for `run_s` since its first words, and all it said; killed at the end."""
    command = [sys.executable, "-c", WRITER, str(directory), str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, bufsize=0) as writer:
        try:
            assert writer.stdout is not None
            fd = writer.stdout.fileno()
            assert select.select([fd], [], [], START_S)[0], "the writer says nothing"
            said = bytearray(os.read(fd, 1 << 16))
            deadline = time.monotonic() + run_s
            while (left_s := deadline - time.monotonic()) > 0 and select.select([fd], [], [], left_s)[0]:
                said += os.read(fd, 1 << 16)
            yield writer, said
            writer.kill()
            said += writer.stdout.read()
        finally:
            writer.kill()


def _numbers(said: bytes | bytearray) -> list[int]:
    return [int(line) for line in said.splitlines(keepends=True) if line.endswith(b"\n")]


def _read_back(directory: Path) -> list[int]:
    asyncio.run(FileLog(directory, clock=SystemClock()).close())  # repairs the log
    return [int(postback.body.split()[0]) for postback in read_all(directory)]


def test_what_a_killed_writer_reported_as_kept_is_read_once_and_in_order(tmp_path: Path) -> None:
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when it fails)
    dice, reported = random.Random(SEED), []
    for kill in range(KILLS):
        with _writer(tmp_path, kill * 1_000_000 + 1, dice.uniform(0, 0.08)) as (_, said):
            pass
        reported += _numbers(said)

    found = _read_back(tmp_path)

    assert len(reported) > KILLS
    assert reported == sorted(reported)
    assert found == sorted(set(found))
    assert set(reported) <= set(found)


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system in a file here: {done.stderr.strip()}")


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    _run("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system in a file")
def test_what_was_reported_as_kept_survives_a_power_cut(tmp_path: Path) -> None:
    """A copy of the mounted image holds what was fsynced and nothing else: the disk after a power cut."""
    dice = random.Random(SEED)
    for cut in range(POWER_CUTS):
        disk, copy = tmp_path / f"disk{cut}", tmp_path / f"copy{cut}"
        with disk.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", disk)
        before = _mounted(disk, tmp_path / f"mount{cut}")
        with before as place, _writer(place / "raw", 1, dice.uniform(0, 0.1)) as (writer, said):
            writer.send_signal(signal.SIGSTOP)  # nothing is written while the disk is copied
            assert writer.stdout is not None
            while select.select([writer.stdout], [], [], 0)[0]:
                said.extend(os.read(writer.stdout.fileno(), 1 << 16))
            reported = _numbers(said)
            shutil.copyfile(disk, copy)
        with _mounted(copy, tmp_path / f"after{cut}") as place:
            found = _read_back(place / "raw")
        assert found == sorted(set(found))
        assert reported, cut
        assert set(reported) <= set(found)
