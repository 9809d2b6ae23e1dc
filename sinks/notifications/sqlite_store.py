"""The store in the SQLite file of the tables, beside whoever writes incidents into it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typing_extensions import override

from sinks.notifications.sql_store import SqlStore
from sinks.tables.asking import Asking, asking_sqlite
from sinks.tables.trouble import TablesError

#: While a backlog is handled the processor has the file nearly always. SQLite's own waiting looks every tenth of a
#: second, and meets the moment between two of its transactions about never (measured: not in twenty seconds).
_LOOK_S: Final = 0.000_2
_PATIENCE_S: Final = 30.0
_NOT_MADE: Final = "the tables are not made yet; `sendtrace up` or `sendtrace sink tables` makes them"
_WAIT_MS: Final = 1_000  # for whatever else may be busy for a moment


class SqliteNotifications(SqlStore):
    """Opens tables that are there. Raises `TablesError` while they are not."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        try:
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_WAIT_MS / 1000, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise TablesError(f"{path}: {_NOT_MADE}") from error
        # What was sent is marked on the disk before the next thing is done.
        self._db.execute("PRAGMA synchronous = FULL")
        if not asking_sqlite(self._db).has("deliveries"):
            self._db.close()
            raise TablesError(f"{path}: {_NOT_MADE}")

    @override
    def close(self) -> None:
        self._db.close()

    @override
    @contextmanager
    def _writing(self) -> Iterator[Asking]:
        with self._transaction("BEGIN IMMEDIATE") as ask:
            yield ask

    @override
    @contextmanager
    def _reading(self) -> Iterator[Asking]:
        with self._transaction("BEGIN") as ask:
            yield ask

    def _begin(self, begin: str) -> None:
        give_up_s = time.monotonic() + _PATIENCE_S
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            while not self._begins(begin, last=time.monotonic() > give_up_s):
                time.sleep(_LOOK_S)
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")

    def _begins(self, begin: str, *, last: bool) -> bool:
        try:
            self._db.execute(begin)
        except sqlite3.OperationalError as error:
            if last or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Asking]:
        self._begin(begin)
        try:
            yield asking_sqlite(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
