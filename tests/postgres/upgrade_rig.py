"""Postgres tables as an earlier release left them, for migrations to be tried on."""

from __future__ import annotations

import psycopg

from sinks.tables.migrations import load
from sinks.tables.postgres_schema import MIGRATIONS_PACKAGE

_LEDGER = "CREATE TABLE sendtrace_migrations (number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL)"
#: Of message m1 to m{messages} in turn, half an hour apart, so that 30,000 of them take twenty months.
_ROWS = """
INSERT INTO transitions
SELECT n, 't' || n, 'status', 'm' || mod(n, %(messages)s), 's', 'braze', 'email', NULL, NULL, NULL, 'c', NULL, 'sent',
       'pending', 'sent', NULL, timestamptz '2020-01-15 00:00:00+00' + n * interval '30 minutes', NULL, NULL, false,
       'r' || n, 1
FROM generate_series(1, %(rows)s) AS n
"""


def fill_transitions(connection: psycopg.Connection, rows: int) -> None:
    """Rows of a hundred messages."""
    connection.execute(_ROWS, {"rows": rows, "messages": 100})


def old_tables(url: str, *, migrations: int, rows: int = 0) -> None:
    """The tables after the first so many migrations, with rows in `transitions`."""
    with psycopg.connect(url) as connection:
        connection.execute(_LEDGER)
        for migration in load(MIGRATIONS_PACKAGE)[:migrations]:
            connection.execute(migration.sql)
            connection.execute(
                "INSERT INTO sendtrace_migrations VALUES (%s, %s, %s)", (*migration[:2], migration.digest)
            )
        if rows:
            fill_transitions(connection, rows)
