"""Who may write one set of Postgres tables, and the migrations that make them."""

from __future__ import annotations

import time
from typing import Final

import psycopg

from sinks.tables.migrations import Migration, MigrationError, check, load
from sinks.tables.postgres_connect import Connection
from sinks.tables.trouble import TablesError

MIGRATIONS_PACKAGE: Final = "sinks.tables.postgres_migrations"
#: Half of the lock's name, "send" in ASCII; the other half is the schema the tables are in.
_LOCK: Final = 0x73656E64
_POLL_S: Final = 0.25
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS sendtrace_migrations (
    number integer PRIMARY KEY,
    name   text NOT NULL,
    digest text NOT NULL
)
"""


class AlreadyWritingError(TablesError, psycopg.OperationalError):
    """Another sink writes these tables, or the session of one that was cut off is not over yet."""


def lock(connection: Connection, *, wait: bool) -> None:
    """Be the one writer for as long as the connection lives. Raises `AlreadyWritingError` instead of waiting."""
    while not _try_lock(connection):
        if not wait:
            raise AlreadyWritingError("another sink writes these tables; stop it, or start this one again later")
        time.sleep(_POLL_S)


def migrate(connection: Connection) -> int:
    """Bring the database up to date; returns how many ran. All or nothing. Only under `lock`.

    Raises `MigrationError` when the database is newer than this release or a file was edited.
    """
    migrations = load(MIGRATIONS_PACKAGE)
    with connection.transaction():
        if connection.execute("SELECT to_regclass('sendtrace_migrations')").fetchone() == (None,):
            connection.execute(_LEDGER)
        done: dict[int, str] = dict(connection.execute("SELECT number, digest FROM sendtrace_migrations").fetchall())
        check(done, migrations, elsewhere="database")
        missing = [migration for migration in migrations if migration.number not in done]
        for migration in missing:
            _run(connection, migration)
    return len(missing)


def _run(connection: Connection, migration: Migration) -> None:
    try:
        connection.execute(migration.sql)
    except psycopg.ProgrammingError as error:  # a table of somebody else's by this name, or no right to make one
        told = str(error).partition("\n")[0]
        raise MigrationError(
            f"{migration.name}: {told}; give the tables a database of their own, and a user who may create in it"
        ) from error
    connection.execute("INSERT INTO sendtrace_migrations VALUES (%s, %s, %s)", (*migration[:2], migration.digest))


def _try_lock(connection: Connection) -> bool:
    # An oid is unsigned, half of a lock's name is not: the cast through bits keeps every two apart.
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, coalesce(current_schema()::regnamespace::oid::bigint, 0)::bit(32)::int)",
        (_LOCK,),
    ).fetchone()
    return row == (True,)
