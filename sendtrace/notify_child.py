"""Keeps the process of notifications running beside `sendtrace up`, and hears how it is."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Final

from typing_extensions import override

from schemas.ports import Clock
from sendtrace.data_paths import DataPaths
from sendtrace.kept_running import KeptRunning
from sendtrace.notify_reports import NOTHING_YET, NotifyReport
from sendtrace.notify_targets import loopback_url
from sendtrace.notify_tasks import NotifyTask, report_of_line
from sendtrace.settings import Settings

_STOP_WAIT_S: Final = 3.0


class NotifyChild(KeptRunning):
    """The notifications of one data directory, as seen from the gateway's event loop.

    `report` is what it said last. What is being sent when it is stopped is sent again at the next start, under the
    same id.
    """

    def __init__(self, task: NotifyTask, *, clock: Clock) -> None:
        super().__init__("the process of notifications", clock=clock, stop_wait_s=_STOP_WAIT_S)
        self.report: NotifyReport = NOTHING_YET
        self._task = task
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and keep it running."""
        await self._keep_running()

    @override
    async def _spawn(self, *, careful: bool) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sendtrace.notify_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        if process.stdin is not None:
            with suppress(ConnectionError):
                process.stdin.write(self._task.line())
                await process.stdin.drain()
        self._listening = asyncio.ensure_future(self._listen(process))
        return process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self.report = report_of_line(line)

    @override
    def _ask_to_end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self.report = {**self.report, "trouble": "its process does not run"}


def notify_child_of(settings: Settings, paths: DataPaths, *, admin_port: int, clock: Clock) -> NotifyChild | None:
    """The child for the targets of the settings; `None` without any. `admin_port` is the one that was taken."""
    if not settings.notifications.targets:
        return None
    base_url = settings.notifications.base_url or loopback_url(admin_port)
    task = NotifyTask(str(paths.directory), base_url, settings.notifications, clock.now_ms())
    return NotifyChild(task, clock=clock)
