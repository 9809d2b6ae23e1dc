"""Notifications as a process of their own: started by `sendtrace up`, which a slow target must not hold up.

Its task comes on standard input, for there are secrets in it; the end of that input is the word to stop. On standard
output it says once in a while how it is.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.logs import configure_logs
from sendtrace.notify_reports import NotifyReport
from sendtrace.notify_targets import targets_of
from sendtrace.notify_tasks import NotifyTask, task_of
from sendtrace.processor_loop import AlreadyRunningError
from sinks.notifications.engine import Notifier, NotifierStats
from sinks.notifications.sqlite_store import SqliteNotifications

_REPORT_PERIOD_S: Final = 2.0


def report_of(stats: NotifierStats) -> NotifyReport:
    """For health and metrics, here and at the other end of the pipe."""
    return {
        "delivered": dict(stats.delivered),
        "failed": dict(stats.failed),
        "parked": dict(stats.parked),
        "waiting": {name: counts.waiting for name, counts in stats.tables.items()},
        "trouble": stats.trouble,
    }


@contextmanager
def notify_lock(paths: DataPaths, *, wait: bool) -> Iterator[None]:
    """The right to tell people of the incidents in a data directory. Raises `AlreadyRunningError` unless `wait`."""
    handle = os.open(paths.notifications_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise AlreadyRunningError(
                f"{paths.directory}: another sendtrace tells people of this directory's incidents"
            ) from error
        yield
    finally:
        os.close(handle)


async def _until_input_ends(task: NotifyTask) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    notifier = Notifier(
        targets_of(task.notifications, task.base_url),
        open_store=lambda: SqliteNotifications(DataPaths(Path(task.directory)).tables),
        clock=SystemClock(),
        since_ms=task.since_ms,
    )
    working = [loop.create_task(notifier.run()), loop.create_task(_report(notifier.stats))]
    ended = loop.create_task(reader.read())
    await asyncio.wait([*working, ended], return_when=asyncio.FIRST_COMPLETED)
    for each in (*working, ended):
        each.cancel()
    for result in await asyncio.gather(*working, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _report(stats: NotifierStats) -> None:
    while True:
        sys.stdout.write(json.dumps(report_of(stats)) + "\n")
        sys.stdout.flush()
        await asyncio.sleep(_REPORT_PERIOD_S)


def main() -> int:
    """`python -m sendtrace.notify_process`: one task on standard input, until that ends."""
    configure_logs("notifications")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends this one
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):  # not by `sys.stdin`, which would read on past the line
        part = os.read(0, 1)
        if not part:
            return 0
        line += part
    task = task_of(line)
    with notify_lock(DataPaths(Path(task.directory)), wait=True):
        asyncio.run(_until_input_ends(task))
    return 0


if __name__ == "__main__":
    sys.exit(main())
