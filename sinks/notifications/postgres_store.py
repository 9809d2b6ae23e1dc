"""The store in the Postgres of the tables. It holds an advisory lock for as long as it lives: one process notifies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import psycopg
from typing_extensions import override

from sinks.notifications.sql_store import SqlStore
from sinks.tables.asking import Asking, asking_postgres
from sinks.tables.postgres_connect import Connection, connect, told
from sinks.tables.trouble import TablesError

#: Half of the lock's name, "note" in ASCII; the other half is the schema the tables are in.
_LOCK: Final = 0x6E6F7465
_WAITS: Final = "SET lock_timeout = '30s'; SET statement_timeout = '60s'"
_ALONE: Final = (
    "SELECT pg_try_advisory_lock(%s, coalesce(current_schema()::regnamespace::oid::bigint, 0)::bit(32)::int)"
)


class PostgresNotifications(SqlStore):
    """Opens tables that are there. Raises `TablesError` while they are not, or another process has the lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._db: Connection = connect(url)
        except psycopg.Error as error:
            raise TablesError(told(error, url)) from error
        try:
            self._db.execute(_WAITS)
            if self._db.execute(_ALONE, (_LOCK,)).fetchone() != (True,):
                raise TablesError("another process tells people of these tables' incidents")  # noqa: TRY301  closed below
            if not asking_postgres(self._db).has("deliveries"):
                raise TablesError("the tables are not made yet; `sendtrace sink tables` makes them")  # noqa: TRY301  as above
        except psycopg.Error as error:
            self._db.close()
            raise TablesError(told(error, url)) from error
        except BaseException:
            self._db.close()
            raise

    @override
    def close(self) -> None:
        self._db.close()

    @override
    @contextmanager
    def _writing(self) -> Iterator[Asking]:
        try:
            with self._db.transaction():
                yield asking_postgres(self._db)
        except psycopg.Error as error:
            raise TablesError(told(error, self._url)) from error

    @override
    def _reading(self) -> AbstractContextManager[Asking]:
        return self._writing()
