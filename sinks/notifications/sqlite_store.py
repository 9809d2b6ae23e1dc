"""The store in the SQLite file of the tables, beside whoever writes incidents into it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typing_extensions import override

from sinks.notifications.sql_store import SqlStore
from sinks.tables.asking import Asking, asking_sqlite
from sinks.tables.trouble import TablesError

_BUSY_TIMEOUT_S: Final = 30.0


class SqliteNotifications(SqlStore):
    """Opens tables that are there. Raises `TablesError` while they are not."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        try:
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise TablesError("the tables are not made yet") from error
        # What was sent is marked on the disk before the next thing is done.
        self._db.execute("PRAGMA synchronous = FULL")
        if not asking_sqlite(self._db).has("deliveries"):
            self._db.close()
            raise TablesError("the tables are not made yet")

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

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Asking]:
        self._db.execute(begin)
        try:
            yield asking_sqlite(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
