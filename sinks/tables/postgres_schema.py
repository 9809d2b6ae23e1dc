"""Who may write one set of Postgres tables, and the migrations that make them.

A migration may have parts, divided by lines `-- part: …`: what takes long under a weak lock, then what locks
readers out for a moment. On tables that are there each part is a transaction of its own, so that none holds
another's locks, and all but the last must be fit to be run again. New tables are made in one transaction.
"""

from __future__ import annotations

import re
import time
from typing import Final

import psycopg

from sinks.tables.migrations import Migration, MigrationError, check, load
from sinks.tables.postgres_connect import Connection
from sinks.tables.trouble import TablesError

MIGRATIONS_PACKAGE: Final = "sinks.tables.postgres_migrations"
#: Half of the locks' names, "send" and "inci" in ASCII; the other half is the schema the tables are in.
TABLES_LOCK: Final = 0x73656E64
INCIDENTS_LOCK: Final = 0x696E6369
_TAKEN: Final = {
    TABLES_LOCK: "another sink writes these tables",
    INCIDENTS_LOCK: "another `sendtrace sink incidents` works on these tables",
}
_POLL_S: Final = 0.25
#: For partitions that are detached while readers read.
_OLDEST_SERVER: Final = 140_000
_PART: Final = re.compile(r"^-- part: .*$", re.MULTILINE)
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS sendtrace_migrations (
    number integer PRIMARY KEY,
    name   text NOT NULL,
    digest text NOT NULL
)
"""


class AlreadyWritingError(TablesError, psycopg.OperationalError):
    """Another sink writes these tables, or the session of one that was cut off is not over yet."""


def lock(connection: Connection, *, wait: bool, name: int = TABLES_LOCK) -> None:
    """Be the one writer for as long as the connection lives. Raises `AlreadyWritingError` instead of waiting."""
    while not _try_lock(connection, name):
        if not wait:
            raise AlreadyWritingError(f"{_TAKEN[name]}; stop it, or start this one again later")
        time.sleep(_POLL_S)


def migrate(connection: Connection) -> int:
    """Bring the database up to date; returns how many ran. One that fails is not counted. Only under `lock`.

    Raises `MigrationError` when the database is newer than this release or the server too old, a file was edited,
    or tables of others are in the way.
    """
    migrations = load(MIGRATIONS_PACKAGE)
    if connection.info.server_version < _OLDEST_SERVER:
        found = connection.info.server_version // 10_000
        raise MigrationError(f"the server is Postgres {found}: the tables need {_OLDEST_SERVER // 10_000} or newer")
    with connection.transaction():
        if connection.execute("SELECT to_regclass('sendtrace_migrations')").fetchone() == (None,):
            connection.execute(_LEDGER)
        done: dict[int, str] = dict(connection.execute("SELECT number, digest FROM sendtrace_migrations").fetchall())
        check(done, migrations, elsewhere="database")
        missing = [migration for migration in migrations if migration.number not in done]
        if not done:
            for migration in missing:
                _run(connection, migration, migration.sql)
                _count(connection, migration)
            return len(missing)
    for migration in missing:
        *first, last = _PART.split(migration.sql)
        for part in first:
            with connection.transaction():
                _run(connection, migration, part)
        with connection.transaction():
            _run(connection, migration, last)
            _count(connection, migration)
    return len(missing)


def _run(connection: Connection, migration: Migration, sql: str) -> None:
    try:
        connection.execute(sql)
    except psycopg.errors.RaiseException as error:  # the migration's own words
        raise MigrationError(f"{migration.name}: {_first_line(error)}") from error
    except psycopg.ProgrammingError as error:  # a table of somebody else's by this name, or no right to make one
        raise MigrationError(
            f"{migration.name}: {_first_line(error)}; give the tables a database of their own, and a user who may"
            " create in it"
        ) from error


def _count(connection: Connection, migration: Migration) -> None:
    connection.execute("INSERT INTO sendtrace_migrations VALUES (%s, %s, %s)", (*migration[:2], migration.digest))


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _try_lock(connection: Connection, name: int) -> bool:
    # An oid is unsigned, half of a lock's name is not: the cast through bits keeps every two apart.
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, coalesce(current_schema()::regnamespace::oid::bigint, 0)::bit(32)::int)",
        (name,),
    ).fetchone()
    return row == (True,)
