"""People's orders to incidents in SQLite tables, while the pipeline writes them and while nobody does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from typing_extensions import override

from sinks.tables.asking import Asking, asking_sqlite
from sinks.tables.incident_orders import IncidentOrders
from sinks.tables.sqlite_turns import transaction


class SqliteIncidentOrders(IncidentOrders):
    """Orders to the tables in `path`, which are not made by this."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    @contextmanager
    def _ordering(self) -> Iterator[Asking]:
        if not self._path.is_file():
            yield asking_sqlite(None)
            return
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db, transaction(db):
            yield asking_sqlite(db)
