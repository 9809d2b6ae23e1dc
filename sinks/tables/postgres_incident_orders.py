"""People's orders to incidents in Postgres tables, while sinks write them and while none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg
from typing_extensions import override

from sinks.tables.asking import Asking, asking_postgres
from sinks.tables.incident_orders import IncidentOrders
from sinks.tables.postgres_connect import connect, told
from sinks.tables.trouble import TablesError

_WAITS: Final = "SET lock_timeout = '30s'; SET statement_timeout = '60s'"


class PostgresIncidentOrders(IncidentOrders):
    """Orders to the tables at `url`, which is what libpq takes."""

    def __init__(self, url: str) -> None:
        self._url = url

    @override
    @contextmanager
    def _ordering(self) -> Iterator[Asking]:
        try:
            with closing(connect(self._url)) as connection:
                connection.execute(_WAITS)
                with connection.transaction():
                    yield asking_postgres(connection)
        except psycopg.Error as error:
            raise TablesError(f"the tables cannot be written: {told(error, self._url)}") from error
