"""The continuous sink: a roll of transitions whenever one is due, and then what changed of the small tables.

Refuses to end for trouble with the tables or the place: it says so once, waits, and tries again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.ports import Clock
from sinks.parquet.datasets import DEAD_LETTERS
from sinks.parquet.hours import HourFiles, Outcome
from sinks.parquet.rolls import Limits, Rolls, StoppedError, Written
from sinks.parquet.root import Root
from sinks.parquet.rows import Rows
from sinks.parquet.trouble import ParquetError
from sinks.tables.trouble import TablesError

_LOOK_EVERY_S: Final = 1.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_EVER: Final = ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z")
_TROUBLE: Final = (ParquetError, TablesError, sqlite3.Error, OSError)
#: The one sink of a place.
_SINK: Final = "sink"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class SinkState:
    """What the admin port tells. One thread writes, any may read."""

    written: Written = field(default_factory=Written)
    waiting_rows: int = 0
    caught_up: bool = False
    trouble: str | None = None


class ParquetSink:
    """One sink of one place; `run` in a thread of its own."""

    def __init__(
        self,
        *,
        root: Callable[[], Root],
        rows: Rows,
        clock: Clock,
        roll_ms: int,
        limits: Limits,
        spool: Path,
    ) -> None:
        self.state = SinkState()
        self._root = root
        self._rows = rows
        self._clock = clock
        self._roll_ms = roll_ms
        self._limits = limits
        self._spool = spool
        self._stop = threading.Event()
        self._small_tables_ms = 0

    def stop(self) -> None:
        """Ask `run` to return; a roll that is being made is left out."""
        self._stop.set()

    def run(self) -> None:
        """Until `stop`; the tables are let go of then. Raises nothing that waiting could mend."""
        with closing(self._rows):
            self._run()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                with self._working() as (rolls, hours):
                    while not self._stop.is_set():
                        self._step(rolls, hours)
                        pause_s, self.state.trouble = _FIRST_PAUSE_S, None
                        if self.state.waiting_rows < self._limits.rows:
                            self._stop.wait(_LOOK_EVERY_S)
            except StoppedError:
                return
            except _TROUBLE as error:
                if self.state.trouble != str(error):
                    _log.warning("%s", error)
                self.state.trouble = str(error)
                self._rows.close()
                self._stop.wait(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    @contextmanager
    def _working(self) -> Iterator[tuple[Rolls, HourFiles]]:
        root = self._root()
        with root.lock(_SINK, wait=False), root.temporary("making", spool=self._spool) as temporary:
            rolls = Rolls(root, self._rows, self._limits, temporary, self._stop.is_set, self.state.written)
            yield rolls, HourFiles(root, self._rows, temporary, self._stop.is_set)

    def _step(self, rolls: Rolls, hours: HourFiles) -> None:
        note, now_ms = rolls.note(), self._clock.now_ms()
        waiting = self._rows.last_transition() - note.done
        is_behind = bool(note.to) or waiting >= self._limits.rows
        if waiting and (is_behind or self._is_due(note.rolled_ms, now_ms)):
            rolls.roll(now_ms)
            waiting = self._rows.last_transition() - rolls.note().done
        self.state.waiting_rows = waiting
        if waiting >= self._limits.rows:
            return
        if self._is_due(self._small_tables_ms, now_ms):
            self._small_tables(hours)
            self._small_tables_ms = now_ms
        self.state.caught_up = True

    def _is_due(self, last_ms: int, now_ms: int) -> bool:
        """Also when the machine's clock was set back."""
        return not 0 <= now_ms - last_ms < self._roll_ms

    def _small_tables(self, hours: HourFiles) -> None:
        """Dead letters change when they are retried, incidents all the time: files that differ are replaced."""
        outcome = Outcome()
        for hour in self._rows.hours(DEAD_LETTERS, *_EVER):
            hours.export(DEAD_LETTERS, hour, outcome)
        hours.export_incidents(outcome)
        self.state.written.files += outcome.written
        self.state.written.bytes += outcome.bytes
