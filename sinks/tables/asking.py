"""One way to ask both databases, for what is the same question to either: SQL with `?` for every value.

Only for tables that are equal in both by name and column, and for SQL that both read alike. Times are
texts of `schemas.times`, JSON is text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sinks.tables.search import is_text

if TYPE_CHECKING:
    from sinks.tables.postgres_connect import Connection

Row = Sequence[Any]  # whatever the drivers hand out


class Rows(Protocol):
    """A question and its values."""

    def __call__(self, sql: str, *values: str | int | None) -> list[Row]:
        """All rows, at once; none for a statement that gives none."""
        ...


class Asking(NamedTuple):
    """One snapshot or one transaction. Trouble is what the driver raises."""

    rows: Rows
    #: Whether there is a table of this name: a database may be older than this release.
    has: Callable[[str], bool]
    #: Whether a text can be a value; one that cannot is in no row.
    can_ask: Callable[[str], bool]


def asking_sqlite(db: sqlite3.Connection | None) -> Asking:
    """On SQLite; nothing is there without a connection."""

    def rows(sql: str, *values: str | int | None) -> list[Row]:
        return [] if db is None else list(db.execute(sql, values))

    return Asking(rows, lambda name: bool(rows("SELECT 1 FROM sqlite_master WHERE name = ?", name)), is_text)


def asking_postgres(db: Connection | None) -> Asking:
    """On Postgres; nothing is there without a connection."""

    def rows(sql: str, *values: str | int | None) -> list[Row]:
        if db is None:
            return []
        cursor = db.execute(sql.replace("?", "%s"), values)
        return list(cursor.fetchall()) if cursor.description else []

    # Postgres holds no U+0000, so no row has one.
    return Asking(
        rows,
        lambda name: rows("SELECT to_regclass(?) IS NOT NULL", name) == [(True,)],
        lambda text: is_text(text) and "\0" not in text,
    )
