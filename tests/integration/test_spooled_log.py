"""The spool: whatever the log in front does, an answer of 200 is with the broker in the end, in order per key."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

from ingest.spooled_log import SpooledLog
from schemas.ports import Waiter
from schemas.postback import Postback
from tests.integration.file_log_rig import DiaryDisk, SystemClock, answers, postbacks, send

PLENTY = 1_000_000


class FrontLog:
    """A log in front that is there or not, and can fail what it has taken, as a broker does."""

    def __init__(self) -> None:
        self.there = True
        self.fails = False
        self.kept: list[Postback] = []

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """The port's method; settles on a later turn, as a broker's answer comes."""
        asyncio.get_running_loop().call_soon(self._settle, postback, waiter)

    def can_keep(self) -> bool:
        """The port's method."""
        return self.there

    def _settle(self, postback: Postback, waiter: Waiter) -> None:
        kept = self.there and not self.fails
        if kept:
            self.kept.append(postback)
        waiter.settle(kept)


@asynccontextmanager
async def spooling(
    directory: Path,
    front: FrontLog,
    *,
    most_bytes: int = PLENTY,
    segment_bytes: int = PLENTY,
    disk: DiaryDisk | None = None,
) -> AsyncIterator[SpooledLog]:
    log = SpooledLog(
        front, directory, clock=SystemClock(), most_bytes=most_bytes, segment_bytes=segment_bytes, disk=disk
    )
    log.start()
    try:
        yield log
    finally:
        await log.close()


async def until(true: Callable[[], bool], within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110  nobody tells us when it is
            await asyncio.sleep(0.01)


async def test_with_a_broker_nothing_is_spooled(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(20)
    async with spooling(tmp_path, front) as log:
        assert await answers(send(log, sent)) == [True] * 20

        assert (log.stats.spooled, log.waiting_bytes) == (0, 0)
    assert front.kept == sent


async def test_without_one_all_is_kept_here_and_sent_in_order_when_it_is_back(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(300)
    front.there = False
    async with spooling(tmp_path, front) as log:
        assert await answers(send(log, sent)) == [True] * 300
        assert log.waiting_bytes > 0
        front.there = True
        await until(lambda: log.waiting_bytes == 0)

    assert front.kept == sent


async def test_what_the_broker_took_and_lost_is_kept_here(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(30)
    front.fails = True
    async with spooling(tmp_path, front) as log:
        assert await answers(send(log, sent)) == [True] * 30
        front.fails = False
        await until(lambda: log.waiting_bytes == 0)

    assert front.kept == sent


async def test_new_ones_do_not_wait_for_the_spool(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(4_000)
    front.there = False
    async with spooling(tmp_path, front) as log:
        await answers(send(log, sent[:-1]))
        front.there = True
        assert await answers(send(log, sent[-1:])) == [True]
        assert front.kept.index(sent[-1]) < len(sent) - 1
        await until(lambda: log.waiting_bytes == 0)

    assert sorted(front.kept) == sorted(sent)


async def test_a_restart_sends_what_was_left_and_a_second_one_nothing(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(50)
    front.there = False
    async with spooling(tmp_path, front) as log:
        await answers(send(log, sent))
    front.there = True
    for _ in range(2):
        async with spooling(tmp_path, front) as log:
            await until(lambda: log.waiting_bytes == 0)

    assert front.kept == sent


async def test_a_broker_that_fails_now_and_then_gets_all_of_it_in_order(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(2_000)
    front.there = False
    async with spooling(tmp_path, front) as log:
        await answers(send(log, sent))
        front.there = True
        for _ in range(3):
            front.fails = True
            await asyncio.sleep(0.05)
            front.fails = False
            await asyncio.sleep(0.05)
        await until(lambda: log.waiting_bytes == 0)

    assert [postback for postback, _ in groupby(front.kept)] == sent


async def test_a_full_spool_refuses_and_takes_up_again_by_itself(tmp_path: Path) -> None:
    front, sent = FrontLog(), postbacks(100)
    front.there = False
    async with spooling(tmp_path, front, most_bytes=2_000) as log:
        told = [(await answers(send(log, [one])))[0] for one in sent]
        assert not log.can_keep()
        assert told.index(False) > 0
        assert set(told[told.index(False) :]) == {False}
        assert log.stats.full == told.count(False)
        front.there = True
        await until(lambda: log.waiting_bytes == 0)
        front.there = False
        assert await answers(send(log, sent[:1])) == [True]

    assert front.kept == sent[: told.index(False)]


async def test_a_disk_that_fails_is_no_200_and_is_used_again_when_it_is_well(tmp_path: Path) -> None:
    front, disk, sent = FrontLog(), DiaryDisk(), postbacks(3)
    front.there = False
    async with spooling(tmp_path, front, disk=disk) as log:
        disk.broken = {"fdatasync": errno.EIO}
        assert await answers(send(log, sent[:1])) == [False]
        assert not log.can_keep()
        disk.broken = {}
        await until(log.can_keep)
        assert await answers(send(log, sent[1:])) == [True, True]
        front.there = True
        await until(lambda: log.waiting_bytes == 0)

    assert front.kept == sent[1:]


async def test_sent_segments_are_given_back_to_the_disk(tmp_path: Path) -> None:
    front = FrontLog()
    front.there = False
    async with spooling(tmp_path, front, segment_bytes=4_096) as log:
        for _ in range(30):
            await answers(send(log, postbacks(10)))
        before = len(list((tmp_path / "segments").glob("*.log")))
        front.there = True
        await until(lambda: log.waiting_bytes == 0)
        await until(lambda: len(list((tmp_path / "segments").glob("*.log"))) <= 2)

    assert before > 4
