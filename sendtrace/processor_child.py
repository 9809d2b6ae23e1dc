"""Keeps the processor's process running, tells it how far the raw log is durable, and ends it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from typing_extensions import override

from processors.incidents.rules import IncidentRule
from processors.personal import Mode
from schemas.ports import Clock
from sendtrace.data_paths import DataPaths
from sendtrace.kept_running import KeptRunning
from sendtrace.personal_keys import child_environment
from sendtrace.processor_process import END, Task

_RESEND_S: Final = 0.02
_STOP_WAIT_S: Final = 3.0


class ProcessorChild(KeptRunning):
    """The processor of one data directory, as seen from the gateway's event loop."""

    def __init__(
        self,
        paths: DataPaths,
        *,
        rules: Path | None,
        dead_retention_days: int,
        clock: Clock,
        personal_mode: Mode = "off",
        personal_secret: str | None = None,
        incident_rules: Sequence[IncidentRule] | None = None,
    ) -> None:
        super().__init__("the processor", clock=clock, stop_wait_s=_STOP_WAIT_S)
        self._paths = paths
        self._rules = None if rules is None else str(rules)
        self._dead_retention_days = dead_retention_days
        self._personal_mode = personal_mode
        self._personal_secret = personal_secret
        self._incident_rules = incident_rules
        self._pipe: int | None = None
        self._end = 0
        self._unsent = False

    async def start(self, end: int) -> None:
        """Start it on a log that is durable up to `end`, and keep it running."""
        self._end = end
        await self._keep_running()

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

    @override
    async def _spawn(self, *, careful: bool) -> asyncio.subprocess.Process:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        task = Task(
            *(str(self._paths.directory), reading, self._rules, self._dead_retention_days, careful),
            *(self._personal_mode, self._incident_rules),
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sendtrace.processor_process", json.dumps(asdict(task))),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(reading,),
                env=child_environment(self._personal_secret),
            )
        finally:
            os.close(reading)
        self._pipe = writing
        self.publish(self._end)
        return process

    def _send_again(self) -> None:
        self._unsent = False
        self.publish(self._end)

    @override
    def _ask_to_end(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
