"""Rows of the tables in SQLite, read beside whoever writes them: a row comes out as one text of JSON.

Each piece that is asked for is read in a snapshot of its own statement; the file is never written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa

from sinks.parquet.ahead import ahead
from sinks.parquet.columns import of_json_lines
from sinks.parquet.datasets import INCIDENTS, TRANSITIONS, Dataset, Kind
from sinks.parquet.rows import PIECE_BYTES, PIECE_ROWS, Hour

_BUSY_TIMEOUT_S: Final = 30.0
_ROWS_PER_FETCH: Final = 100
_HOUR_CHARS: Final = len("2026-11-21T14")
#: The table with a dataset's times, where the dataset is a view.
_TIMES_OF: Final = {"transitions": "transition_log"}


class SqliteRows:
    """`Rows` of a tables file. A file that is not there yet, or has not the table yet, has no rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None

    def close(self) -> None:
        """See `Rows`."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def last_transition(self) -> int:
        """See `Rows`."""
        found = self._asked("transition_log", "SELECT coalesce(max(seq), 0) FROM transition_log", ())
        return int(found[0][0]) if found else 0

    def transitions(self, after: int, *, to: int | None, limit: int) -> Iterator[pa.Table]:
        """See `Rows`."""
        last = self.last_transition() if to is None else to
        where = "seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        return self._pieces(TRANSITIONS, where, (after, last, limit), bodies=False)

    def hours(self, dataset: Dataset, since: str, until: str) -> list[Hour]:
        """See `Rows`."""
        at = f"substr({dataset.day}, 1, {_HOUR_CHARS})"
        table = _TIMES_OF.get(dataset.name, dataset.name)
        if dataset.changed == (dataset.day,):
            where, having = f"{dataset.day} >= ? AND {dataset.day} < ?", ""
            values: tuple[str, ...] = (since, until)
        else:
            where = f"{dataset.day} < ?"
            having = f"HAVING {' OR '.join(f'max({name}) >= ?' for name in dataset.changed)}"
            values = (until, *[since] * len(dataset.changed))
        query = (
            f"SELECT {at}, min({dataset.key}), max({dataset.key}), count(*) FROM {table} "  # noqa: S608  our names
            f"WHERE {where} GROUP BY 1 {having} ORDER BY 1"
        )
        return [Hour(*row) for row in self._asked(table, query, values)]

    def of_hour(self, dataset: Dataset, hour: Hour, *, bodies: bool) -> Iterator[pa.Table]:
        """See `Rows`."""
        where = f"{dataset.key} BETWEEN ? AND ? AND {dataset.day} BETWEEN ? AND ? ORDER BY {dataset.key}"
        bounds = (hour.first, hour.last, f"{hour.at}:00:00.000Z", f"{hour.at}:59:59.999Z")
        return self._pieces(dataset, where, bounds, bodies=bodies)

    def incidents(self) -> Iterator[pa.Table]:
        """See `Rows`."""
        return self._pieces(INCIDENTS, "true ORDER BY incident_id", (), bodies=False)

    def _asked(self, table: str, query: str, values: tuple[object, ...]) -> list[tuple[str, int, int, int]]:
        database = self._database()
        if database is None or not _has(database, table):
            return []
        return database.execute(query, values).fetchall()

    def _pieces(self, dataset: Dataset, where: str, values: tuple[object, ...], *, bodies: bool) -> Iterator[pa.Table]:
        database = self._database()
        if database is None or not _has(database, dataset.name):
            return
        query = f"SELECT {_as_json(dataset, bodies=bodies)} FROM {dataset.name} WHERE {where}"  # noqa: S608  our names
        with closing(ahead(_lines(database, query, values))) as pieces:
            for lines in pieces:
                yield of_json_lines(dataset, lines)

    def _database(self) -> sqlite3.Connection | None:
        if self._open is None and self._path.is_file():
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            # Rows may be read in a thread of their own, but never by two at once.
            self._open = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
            self._open.execute("PRAGMA query_only = ON")
        return self._open


def _lines(database: sqlite3.Connection, query: str, values: tuple[object, ...]) -> Generator[list[str], None, None]:
    lines: list[str] = []
    chars = 0
    with closing(database.execute(query, values)) as cursor:
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            for (line,) in rows:
                lines.append(line)
                chars += len(line)
            if len(lines) >= PIECE_ROWS or chars >= PIECE_BYTES:
                yield lines
                lines, chars = [], 0
    if lines:
        yield lines


def _has(database: sqlite3.Connection, table: str) -> bool:
    return database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _as_json(dataset: Dataset, *, bodies: bool) -> str:
    """Keys are the columns' numbers: names would be a third of the text."""
    columns = enumerate(dataset.columns.items())
    pairs = (f"'{number}', {_value(name, kind, bodies=bodies)}" for number, (name, kind) in columns)
    return f"json_object({', '.join(pairs)})"


def _value(name: str, kind: Kind, *, bodies: bool) -> str:
    if kind is Kind.BYTES:
        return f"hex({name})" if bodies else "NULL"
    return name
