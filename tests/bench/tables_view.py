"""The tables as an analyst sees them while they are written: a second, read-only connection."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final, cast

from sendtrace.data_paths import DataPaths
from tests.bench.processes import BenchError

_POLL_S: Final = 0.005
_PATIENCE_S: Final = 120.0


def _opened(tables: Path) -> sqlite3.Connection:
    """As soon as it is there: sendtrace is ready for postbacks before its processor has made the tables."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            db = sqlite3.connect(f"{tables.as_uri()}?mode=ro", uri=True, isolation_level=None)
            db.execute("SELECT 1 FROM progress")
        except sqlite3.OperationalError as error:
            if time.monotonic() > deadline:
                raise BenchError(f"{tables}: not made within {_PATIENCE_S:.0f} s: {error}") from error
            time.sleep(_POLL_S)
        else:
            return db


class TablesView:
    """Looks at the tables of one data directory. Close it: a reader keeps the write-ahead log long."""

    def __init__(self, directory: Path) -> None:
        self._db = _opened(DataPaths(directory).tables)

    def handled(self) -> int:
        """Postbacks whose outcome is in the tables, whatever it was."""
        return cast(int, self._one("SELECT coalesce(sum(applied + duplicates + dead), 0) FROM audit"))

    def dead(self) -> int:
        """Postbacks that were not understood."""
        return cast(int, self._one("SELECT coalesce(sum(dead), 0) FROM audit"))

    def position(self) -> int:
        """How far the raw log is handled."""
        return cast(int, self._one("SELECT coalesce(max(position), 0) FROM progress"))

    def has(self, message_id: str) -> bool:
        """Whether a message has its row."""
        return self._one("SELECT EXISTS (SELECT 1 FROM messages WHERE message_id = ?)", message_id) == 1

    def when_handled(self, count: int) -> float:
        """Wait until so many are; returns the monotonic time. Raises `BenchError` if more are, or it takes minutes."""
        until_s = time.perf_counter() + _PATIENCE_S
        while (handled := self.handled()) < count:
            if time.perf_counter() > until_s:
                raise BenchError(f"only {handled} of {count} postbacks are in the tables after {_PATIENCE_S:g} s")
            time.sleep(_POLL_S)
        now_s = time.perf_counter()
        if handled > count or self.dead():
            raise BenchError(f"{handled} postbacks in the tables, {self.dead()} of them dead, {count} were accepted")
        return now_s

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    def _one(self, query: str, *values: str) -> object:
        return cast(object, self._db.execute(query, values).fetchone()[0])
