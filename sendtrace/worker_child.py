"""Keeps one worker's process running, hears how it is, and ends one that says nothing or gets nothing done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from typing_extensions import override

from schemas.ports import Clock
from sendtrace.kept_running import KeptRunning
from sendtrace.personal_keys import child_environment
from sendtrace.worker_reports import WorkerReport, WorkerTask, command, report_of

#: A process that says nothing for so long does not turn its loop: a body may hold it, or the machine.
SILENCE_S: Final = 30.0
#: A partition with work that gets nothing done for so long is stuck, or its brokers are away; starting again
#: costs seconds and is right in both cases.
STUCK_S: Final = 60.0
#: A group lets a member in within its session and rebalance timeouts, 40 s together. One that is not in after this was
#: seen to have stopped asking, while it went on reporting.
JOIN_S: Final = 90.0
_WATCH_S: Final = 1.0
_STOP_WAIT_S: Final = 8.0
_LINE_BYTES: Final = 16 * 1024 * 1024

_log = logging.getLogger(__name__)


class WorkerChild(KeptRunning):
    """One process of `sendtrace worker`, as seen from its parent. `report` is what it said last, `None` before.

    `may_start` is awaited before each start, and returns when there is something to start for.
    """

    def __init__(
        self,
        name: str,
        task_of: Callable[[bool], WorkerTask],
        *,
        may_start: Callable[[], Awaitable[None]],
        clock: Clock,
        personal_secret: str | None = None,
    ) -> None:
        super().__init__(name, clock=clock, stop_wait_s=_STOP_WAIT_S)
        self.report: WorkerReport | None = None
        self._task_of = task_of
        self._may_start = may_start
        self._personal_secret = personal_secret
        self._heard_s = self._started_s = 0.0
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it as soon as it may, and keep it running."""
        self._watcher = asyncio.get_running_loop().create_task(self._start_and_watch())

    async def _start_and_watch(self) -> None:
        self._process = await self._spawn(careful=False)
        await self._watch()

    async def watch(self) -> None:
        """Until cancelled: kill it when it is silent, left outside or stuck. What it had under way is done again."""
        while True:
            await asyncio.sleep(_WATCH_S)
            trouble = self._trouble()
            if trouble is not None and self._process is not None and self.alive:
                _log.error("%s %s; it is killed and started again", self._name, trouble)
                self.report = None
                with suppress(ProcessLookupError):
                    self._process.kill()

    def ready(self) -> bool:
        """Whether it has its partitions, all recovered, and gets something done."""
        report = self.report
        if not self.alive or report is None or not report["joined"]:
            return False
        return all(each["ready"] and each["busy_s"] < SILENCE_S for each in report["partitions"].values())

    def _trouble(self) -> str | None:
        silent_s = self._clock.monotonic_s() - self._heard_s
        if silent_s > SILENCE_S:
            return f"has said nothing for {silent_s:.0f} s"
        outside_s = self._clock.monotonic_s() - self._started_s
        if self.report is not None and not self.report["joined"] and outside_s > JOIN_S:
            return f"has not joined its group in {outside_s:.0f} s"
        for partition, each in (self.report or {"partitions": {}})["partitions"].items():
            if each["busy_s"] > STUCK_S:
                return f"has got nothing done for partition {partition} in {each['busy_s']:.0f} s"
        return None

    @override
    async def _spawn(self, *, careful: bool) -> asyncio.subprocess.Process:
        await self._may_start()
        process = await asyncio.create_subprocess_exec(
            *command(self._task_of(careful)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            env=child_environment(self._personal_secret),
        )
        self.report = None
        self._heard_s = self._started_s = self._clock.monotonic_s()
        self._listening = asyncio.ensure_future(self._listen(process))
        return process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            self.report = report_of(line)
            self._heard_s = self._clock.monotonic_s()

    @override
    def _ask_to_end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self.report = None
