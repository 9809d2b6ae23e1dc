"""Read-only connections to Postgres, each borrowed by one reader at a time for one snapshot.

Refuses to write and to wait long. A database that has none of our tables yet is a snapshot of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from sinks.tables.postgres_connect import Connection, connect, told
from sinks.tables.trouble import TablesError

_MOST_IDLE: Final = 8
_LONGEST_STATEMENT: Final = "SET statement_timeout = '30s'"
_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The writer makes all tables in one transaction, and this one first; others of its name are not to be expected.
_MADE: Final = "SELECT to_regclass('sendtrace_migrations') IS NOT NULL"


class Snapshots:
    """Snapshots of the tables at `url`, for any number of threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []  # its pop and append are atomic
        self._closed = False

    @contextmanager
    def take(self) -> Iterator[Connection | None]:
        """One consistent moment of the tables, or `None` before there are any. Raises `TablesError`."""
        try:
            connection = self._begin()
            if connection is None:
                yield None
                return
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise TablesError(f"the tables cannot be read: {told(error, self._url)}") from error
        self._give_back(connection)

    def close(self) -> None:
        """Close what nobody holds; what is held is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _begin(self) -> Connection | None:
        """A connection in a transaction. One that lay idle may have lost its server, and then another is made."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                break
            try:
                connection.execute(_BEGIN)
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection
        return self._open()

    def _give_back(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _open(self) -> Connection | None:
        connection = connect(self._url)
        try:
            connection.execute(_LONGEST_STATEMENT)
            made = connection.execute(_MADE).fetchone() == (True,)
            if made:
                connection.execute(_BEGIN)
        except BaseException:
            connection.close()
            raise
        if not made:
            connection.close()
            return None
        return connection
