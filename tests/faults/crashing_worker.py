"""`sendtrace worker` that is killed at a chosen point of its fifth transaction, once: `CRASH_AT` names the point.

Run it as the program: `python -m tests.faults.crashing_worker worker …`. Its processes are this file too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from aiokafka import AIOKafkaProducer

from processors.faust_shell.state_store import RocksStates
from sendtrace import cli, worker_child, worker_process
from sendtrace.worker_reports import WorkerTask, command

POINTS: Final = ("before anything is sent", "before the commit", "before the state", "after the state")
_TRANSACTION: Final = 5

_count = 0


def _reached(point: str) -> None:
    """Die here, unless this data directory has died already."""
    marker = Path(os.environ["CRASH_MARKER"])
    if os.environ["CRASH_AT"] == point and _count == _TRANSACTION and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _crashing(method: Callable[..., Awaitable[Any]], point: str, *, counts: bool = False) -> Callable[..., Any]:
    async def call(self: AIOKafkaProducer, *arguments: object) -> object:
        global _count  # noqa: PLW0603  of this process
        _count += counts
        _reached(point)
        return await method(self, *arguments)

    return call


_write = RocksStates.write


def _crashing_write(self: RocksStates, states: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
    _reached("before the state")
    _write(self, states, position)
    _reached("after the state")


def _command(task: WorkerTask) -> list[str]:
    program, _, _, argument = command(task)
    return [program, "-m", "tests.faults.crashing_worker", argument]


if __name__ == "__main__":
    if sys.argv[1] == "worker":
        with patch.object(worker_child, "command", _command):
            cli.main()
    else:
        begin = _crashing(AIOKafkaProducer.begin_transaction, "before anything is sent", counts=True)
        commit = _crashing(AIOKafkaProducer.commit_transaction, "before the commit")
        with (
            patch.object(AIOKafkaProducer, "begin_transaction", begin),
            patch.object(AIOKafkaProducer, "commit_transaction", commit),
            patch.object(RocksStates, "write", _crashing_write),
        ):
            worker_process.main(*sys.argv[1:])
