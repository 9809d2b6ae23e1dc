"""Keeps the processor's process running, tells it how far the raw log is durable, and ends it.

Refuses to restart one that says its tables cannot be used: that is for a person to mend.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from schemas.ports import Clock
from sendtrace.data_paths import DataPaths
from sendtrace.processor_process import END, EXIT_UNUSABLE, Task

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_STEADY_S: Final = 30.0  # a process that lived this long starts the pauses over
_RESEND_S: Final = 0.02
_STOP_WAIT_S: Final = 3.0

_log = logging.getLogger(__name__)


class ProcessorChild:
    """The processor of one data directory, as seen from the gateway's event loop."""

    def __init__(self, paths: DataPaths, *, rules: Path | None, dead_retention_days: int, clock: Clock) -> None:
        self.restarts = 0
        self.unusable = asyncio.Event()
        self._paths = paths
        self._rules = None if rules is None else str(rules)
        self._dead_retention_days = dead_retention_days
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None
        self._end = 0
        self._unsent = False
        self._stopping = False
        self._watcher: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self, end: int) -> None:
        """Start it on a log that is durable up to `end`, and keep it running."""
        self._end = end
        await self._spawn(careful=False)
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def publish(self, end: int) -> None:
        """Say that the log is durable up to `end`. Never blocks; a full pipe is told the newest end later."""
        self._end = end
        if self._pipe is None or self._unsent:
            return
        try:
            os.write(self._pipe, END.pack(end))  # eight bytes into a pipe: whole or not at all
        except BlockingIOError:
            self._unsent = True
            asyncio.get_running_loop().call_later(_RESEND_S, self._send_again)
        except BrokenPipeError:
            pass  # it has ended; the watcher starts the next one with the newest end

    async def stop(self) -> None:
        """Let it catch up for a moment and end; one that does not end in time is killed, losing nothing."""
        self._stopping = True
        self._close_pipe()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_WAIT_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _spawn(self, *, careful: bool) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        task = Task(str(self._paths.directory), reading, self._rules, self._dead_retention_days, careful)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sendtrace.processor_process", json.dumps(asdict(task))),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(reading,),
            )
        finally:
            os.close(reading)
        self._pipe = writing
        self.publish(self._end)

    async def _watch(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._process is not None and not self._is_stopping():
            since = self._clock.monotonic_s()
            code = await self._process.wait()
            self._close_pipe()
            if self._is_stopping():
                return
            if code == EXIT_UNUSABLE:
                self.unusable.set()
                return
            lived_s = self._clock.monotonic_s() - since
            pause_s = _FIRST_PAUSE_S if lived_s > _STEADY_S else min(2 * pause_s, _LONGEST_PAUSE_S)
            _log.error("the processor ended with %s after %.1f s; starting it again in %.1f s", code, lived_s, pause_s)
            await asyncio.sleep(pause_s)
            self.restarts += 1
            await self._spawn(careful=True)

    def _is_stopping(self) -> bool:
        return self._stopping

    def _send_again(self) -> None:
        self._unsent = False
        self.publish(self._end)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
