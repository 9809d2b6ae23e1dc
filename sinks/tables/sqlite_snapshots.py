"""Read-only connections to one SQLite file, each borrowed by one reader at a time for one snapshot.

Refuses to write, to create the file, and to wait long: in WAL mode a reader waits for nobody but a
recovery. A file that is not there yet, or has no tables yet, is a snapshot of nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_BUSY_TIMEOUT_S: Final = 5.0
_MOST_IDLE: Final = 8


class Snapshots:
    """Snapshots of the tables in `path`, for any number of threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []  # its pop and append are atomic
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[sqlite3.Connection | None]:
        """One consistent moment of the tables, or `None` before there are any. Raises `sqlite3.Error`."""
        connection = self._borrow()
        if connection is None:
            yield None
            return
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        if self._closed or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close what nobody holds; what is held is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _borrow(self) -> sqlite3.Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open() if self._path.is_file() else None

    def _open(self) -> sqlite3.Connection | None:
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # a connection wanders between threads, but is never in two at once
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            # The writer makes all tables in one transaction: where one is, all are.
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'progress'").fetchone()
        except BaseException:
            connection.close()
            raise
        if made is None:
            connection.close()
            return None
        return connection
