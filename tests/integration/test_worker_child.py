"""A worker's process that is outside its group for too long is started again.

Why one once stopped asking is not known, so what it did is played by a process of the test: it reports, and is not in.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sendtrace import worker_child
from sendtrace.clock import SystemClock
from sendtrace.worker_child import WorkerChild
from sendtrace.worker_reports import WorkerTask

#: Outside at its first start, inside at the next.
_PROCESS = """
import json, pathlib, select, sys
mark = pathlib.Path(sys.argv[1])
joined = mark.exists()
mark.touch()
while not select.select([sys.stdin], [], [], 0.05)[0]:
    print(json.dumps({"joined": joined, "partitions": {}}), flush=True)
"""


async def until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)


async def test_one_outside_its_group_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_child, "JOIN_S", 1.0)
    script = [sys.executable, "-c", _PROCESS, str(tmp_path / "started")]
    monkeypatch.setattr(worker_child, "command", lambda _: script)
    task = WorkerTask(str(tmp_path), "i", ["b:1"], "p.", "g", 1_000_000, None, careful=False)

    async def at_once() -> None:
        """There is always something to start for."""

    child = WorkerChild("worker process 0", lambda _: task, may_start=at_once, clock=SystemClock())
    child.start()
    watching = asyncio.ensure_future(child.watch())
    try:
        await until(lambda: child.report is not None and not child.report["joined"])
        assert not child.ready()
        await until(child.ready)
        assert child.restarts == 1
        await asyncio.sleep(1.5)
        assert child.restarts == 1  # it is in, so it is left alone
    finally:
        watching.cancel()
        await child.stop()
