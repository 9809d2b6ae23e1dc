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
from sinks.tables.sqlite_turns import transaction
from sinks.tables.trouble import TablesError

_NOT_MADE: Final = "the tables are not made yet; `sendtrace up` or `sendtrace sink tables` makes them"


class SqliteNotifications(SqlStore):
    """Opens tables that are there. Raises `TablesError` while they are not."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        try:
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
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
        with transaction(self._db):
            yield asking_sqlite(self._db)

    @override
    @contextmanager
    def _reading(self) -> Iterator[Asking]:
        with transaction(self._db, "DEFERRED"):
            yield asking_sqlite(self._db)
