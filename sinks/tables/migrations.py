"""Numbered SQL files, applied once each, in order.

A migration that ran is never edited: its digest is kept, and a changed file stops the start. There
is no way back; a rollback is the next number. Those of Postgres run in `sinks.tables.postgres_schema`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT
"""


class MigrationError(RuntimeError):
    """The database and the migrations of this release do not fit; the text says what to do."""


class Migration(NamedTuple):
    """One file `NNNN_name.sql`."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text that ran."""
        return sha256(self.sql.encode()).hexdigest()


def load(package: str) -> list[Migration]:
    """The migrations lying in a package, by number. Raises `MigrationError` on a gap or a repeat."""
    found = sorted(
        Migration(int(entry.name[:4]), entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(package).iterdir()
        if entry.name.endswith(".sql")
    )
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        names = ", ".join(migration.name for migration in found)
        raise MigrationError(f"{package}: migrations must be numbered 0001, 0002, … without gaps; found {names}")
    return found


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> int:
    """Bring a SQLite database up to date; returns how many ran. All or nothing, in one transaction.

    Raises `MigrationError` when the database is newer than this release or a file was edited.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_LEDGER)
        done = dict(connection.execute("SELECT number, digest FROM schema_migrations").fetchall())
        check(done, migrations, elsewhere="data directory")
        missing = [migration for migration in migrations if migration.number not in done]
        for migration in missing:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", (*migration[:2], migration.digest))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return len(missing)


def check(done: Mapping[int, str], migrations: Sequence[Migration], *, elsewhere: str) -> None:
    """Raises `MigrationError` when `done`, the numbers that ran and their digests, is ahead of `migrations` or differs.

    `elsewhere` is what an older release can be given another of.
    """
    newest = max(done, default=0)
    if newest > len(migrations):
        raise MigrationError(
            f"the tables are at migration {newest:04d}, this release knows {len(migrations):04d}: "
            f"start the newer release, or give this one another {elsewhere}"
        )
    for migration in migrations:
        if done.get(migration.number, migration.digest) != migration.digest:
            raise MigrationError(
                f"{migration.name} is not the file that made these tables: restore it, put the change in a new number"
            )


def _statements(sql: str) -> list[str]:
    """Split a script where SQLite says a statement is complete: `executescript` would commit first."""
    statements: list[str] = []
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
