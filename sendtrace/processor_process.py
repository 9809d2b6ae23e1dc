"""The processor as a process of its own: started by `sendtrace up`, woken through a pipe.

A process and not a thread, so that folding never holds up an answer and a body that ends the
process does not end the gateway. The pipe carries the raw log's durable end, eight bytes each time
it grew; its end of file means that the gateway is gone, and this process follows once it has caught
up or `_LAST_WORDS_S` are over.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import sqlite3
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ingest.file_log_reader import FileLogReader
from processors.attempts import MarkedAttempts
from processors.incidents.rules import IncidentRule
from processors.personal import Mode
from schemas.ports import Clock
from schemas.times import iso_ms
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kept_running import EXIT_UNUSABLE, GC_THRESHOLDS
from sendtrace.logs import configure_logs
from sendtrace.personal_keys import child_keys
from sendtrace.processor_incidents import IncidentTurns, incident_turns
from sendtrace.processor_loop import ProcessorLoop, open_loop, processor_lock
from sinks.tables.migrations import MigrationError
from sinks.tables.sqlite_writer import SqliteTables
from sinks.tables.trouble import TablesError

END: Final = struct.Struct("<Q")
_PIPE_READ_BYTES: Final = 65_536
_IDLE_S: Final = 0.25  # how long a request to retry dead letters may wait
_PAUSE_AFTER_FAILED_WRITE_S: Final = 1.0
_LAST_WORDS_S: Final = 2.0
_DAY_MS: Final = 86_400_000
_HOUSEKEEPING_S: Final = 3_600.0

_log = logging.getLogger(__name__)


class Wakeups:
    """The reading end of the pipe."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._rest = b""
        self.ended = False
        os.set_blocking(handle, False)

    def newest_end(self, *, wait_s: float) -> int | None:
        """The last durable end that was sent, waiting at most `wait_s` for one; `None` if there is none."""
        newest: int | None = None
        while not self.ended and select.select([self._handle], [], [], 0 if newest is not None else wait_s)[0]:
            data = os.read(self._handle, _PIPE_READ_BYTES)
            self.ended = not data
            whole = self._rest + data
            cut = len(whole) - len(whole) % END.size
            self._rest = whole[cut:]
            if cut:
                newest = END.unpack(whole[cut - END.size : cut])[0]
            elif newest is None:
                break
        return newest


class Housekeeping:
    """Deletes dead letters past their age, now and then, when there is nothing else to do."""

    def __init__(self, tables: SqliteTables, dead_retention_days: int) -> None:
        self._tables = tables
        self._keep_ms = dead_retention_days * _DAY_MS
        self._due_s = 0.0

    def run(self, clock: Clock) -> None:
        """Do what is due."""
        if clock.monotonic_s() >= self._due_s:
            self._due_s = clock.monotonic_s() + _HOUSEKEEPING_S
            self._tables.delete_dead_before(iso_ms(clock.now_ms() - self._keep_ms))


def follow(
    loop: ProcessorLoop,
    reader: FileLogReader,
    wakeups: Wakeups,
    housekeeping: Housekeeping,
    incidents: IncidentTurns | None = None,
) -> None:
    """Handle the log as it grows, until the pipe ends. `incidents` have their turns in between."""
    clock = SystemClock()
    deadline: float | None = None
    pause_s = 0.0
    while True:
        end = wakeups.newest_end(wait_s=pause_s)
        if end is not None:
            reader.durable_end = end
        if wakeups.ended and deadline is None:
            deadline = clock.monotonic_s() + _LAST_WORDS_S
        try:
            handled = loop.step() if reader.durable_end is not None else 0
            pause_s = 0.0
            if not handled:
                loop.retry_dead()
                housekeeping.run(clock)
                pause_s = _IDLE_S
            if incidents is not None:
                end = reader.durable_end
                caught_up = not handled and end is not None and loop.position >= end
                if incidents.run(busy=bool(handled), caught_up=caught_up):
                    pause_s = 0.0
        except (sqlite3.OperationalError, OSError) as error:
            _log.error("tables: %s; trying again in %g s", error, _PAUSE_AFTER_FAILED_WRITE_S)
            handled, pause_s = 0, _PAUSE_AFTER_FAILED_WRITE_S
        if deadline is not None and (not handled or clock.monotonic_s() > deadline):
            return


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is told on its command line, as one JSON argument."""

    directory: str
    pipe: int
    rules: str | None
    dead_retention_days: int
    careful: bool
    personal_mode: Mode = "off"
    incident_rules: Sequence[IncidentRule] | None = None  # `None`: no incidents at all


def _incidents(task: Task, tables: SqliteTables) -> IncidentTurns | None:
    if task.incident_rules is None:
        return None
    given = [IncidentRule(*values) for values in task.incident_rules]  # JSON has made lists of all tuples
    rules = [rule._replace(match=tuple(rule.match), group_by=tuple(rule.group_by)) for rule in given]
    classes = Path(task.rules) if task.rules else None
    return incident_turns(tables, rules=rules, classes=classes, clock=SystemClock())


def main(argument: str) -> int:
    """`python -m sendtrace.processor_process TASK`: handle one data directory until the pipe ends."""
    task = Task(**json.loads(argument))
    configure_logs("processor")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the gateway ends first
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # so do service managers; the pipe's end is the word to stop
    paths = DataPaths(Path(task.directory))
    reader = FileLogReader(paths.raw)
    wakeups = Wakeups(task.pipe)
    suspicion = MarkedAttempts(paths.attempt) if task.careful else None
    with processor_lock(paths, wait=True):
        try:
            loop, tables = open_loop(
                paths,
                reader=reader,
                rules=Path(task.rules) if task.rules else None,
                clock=SystemClock(),
                suspicion=suspicion,
                keys=child_keys(task.personal_mode),
            )
        except (MigrationError, TablesError, sqlite3.DatabaseError) as error:
            _log.critical("%s: %s", paths.tables, error)
            return EXIT_UNUSABLE
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            follow(loop, reader, wakeups, Housekeeping(tables, task.dead_retention_days), _incidents(task, tables))
        finally:
            tables.close()
            reader.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
