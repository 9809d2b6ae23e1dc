"""Rows of the tables in Postgres, as COPY gives them: CSV that is parsed outside of Python.

Reads in transactions of one statement, with a connection of its own that is made again when it was lost.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg
import pyarrow as pa
from psycopg import sql

from sinks.parquet.ahead import ahead
from sinks.parquet.columns import of_csv
from sinks.parquet.datasets import INCIDENTS, TRANSITIONS, Dataset, Kind
from sinks.parquet.rows import PIECE_BYTES, PIECE_ROWS, Hour
from sinks.tables.postgres_connect import Connection, connect, told
from sinks.tables.trouble import TablesError

#: In UTC, for the session is; as `Hour.at` writes it.
_HOUR: Final = 'YYYY-MM-DD"T"HH24'


class PostgresRows:
    """`Rows` of a database. One that has not the tables yet has no rows."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: Connection | None = None

    def close(self) -> None:
        """See `Rows`."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def last_transition(self) -> int:
        """See `Rows`."""
        found = self._asked("transitions", sql.SQL("SELECT coalesce(max(seq), 0) FROM transitions"))
        return int(str(found[0][0])) if found else 0

    def transitions(self, after: int, *, to: int | None, limit: int) -> Iterator[pa.Table]:
        """See `Rows`."""
        last = self.last_transition() if to is None else to
        where = sql.SQL("seq > {} AND seq <= {} ORDER BY seq LIMIT {}").format(after, last, limit)
        return self._pieces(TRANSITIONS, where, bodies=False)

    def hours(self, dataset: Dataset, since: str, until: str) -> list[Hour]:
        """See `Rows`."""
        day = sql.Identifier(dataset.day)
        if dataset.changed == (dataset.day,):  # then partitions outside are not looked at
            where: sql.Composable = sql.SQL("{} >= {}").format(day, since)
            having: sql.Composable = sql.SQL("")
        else:
            written = [sql.SQL("max({}) >= {}").format(sql.Identifier(name), since) for name in dataset.changed]
            where, having = sql.SQL("true"), sql.SQL("HAVING ") + sql.SQL(" OR ").join(written)
        query = sql.SQL(
            "SELECT to_char(date_trunc('hour', {day}), {form}), min({key}), max({key}), count(*) FROM {table} "
            "WHERE {where} AND {day} < {until} GROUP BY 1 {having} ORDER BY 1"
        ).format(
            day=day,
            form=_HOUR,
            key=sql.Identifier(dataset.key),
            table=sql.Identifier(dataset.name),
            where=where,
            until=until,
            having=having,
        )
        return [Hour(str(at), first, last, rows) for at, first, last, rows in self._asked(dataset.name, query)]

    def of_hour(self, dataset: Dataset, hour: Hour, *, bodies: bool) -> Iterator[pa.Table]:
        """See `Rows`."""
        where = sql.SQL("{key} BETWEEN {} AND {} AND {day} BETWEEN {} AND {} ORDER BY {key}").format(
            *(hour.first, hour.last, f"{hour.at}:00:00.000Z", f"{hour.at}:59:59.999Z"),
            key=sql.Identifier(dataset.key),
            day=sql.Identifier(dataset.day),
        )
        return self._pieces(dataset, where, bodies=bodies)

    def incidents(self) -> Iterator[pa.Table]:
        """See `Rows`."""
        return self._pieces(INCIDENTS, sql.SQL("true ORDER BY incident_id"), bodies=False)

    def _asked(self, table: str, query: sql.SQL | sql.Composed) -> list[tuple[str, int, int, int]]:
        with self._connected() as database:
            return database.execute(query).fetchall() if _has(database, table) else []

    def _pieces(self, dataset: Dataset, where: sql.Composable, *, bodies: bool) -> Iterator[pa.Table]:
        query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT csv)").format(
            sql.SQL(", ").join(_value(name, kind, bodies=bodies) for name, kind in dataset.columns.items()),
            sql.Identifier(dataset.name),
            where,
        )
        with self._connected() as database:
            if _has(database, dataset.name):
                with closing(ahead(_csv(database, query))) as pieces:
                    for parts in pieces:
                        yield of_csv(dataset, parts)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Raises `TablesError`; what was lost is made again by the next call."""
        try:
            if self._open is None:
                self._open = connect(self._url)
            yield self._open
        except psycopg.Error as error:
            self.close()
            raise TablesError(f"the tables cannot be read: {told(error, self._url)}") from error
        except BaseException:  # a reader that stopped in the middle leaves a COPY behind
            self.close()
            raise


def _csv(database: Connection, query: sql.Composed) -> Generator[list[bytes], None, None]:
    parts: list[bytes] = []
    size = 0
    with closing(database.cursor()) as cursor, cursor.copy(query) as copy:
        for part in copy:  # a row each
            parts.append(bytes(part))
            size += len(part)
            if len(parts) == PIECE_ROWS or size >= PIECE_BYTES:
                yield parts
                parts, size = [], 0
    if parts:
        yield parts


def _has(database: Connection, table: str) -> bool:
    return database.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)


def _value(name: str, kind: Kind, *, bodies: bool) -> sql.Composable:
    if kind is Kind.BYTES:
        return sql.SQL("encode({}, 'hex')" if bodies else "NULL").format(sql.Identifier(name))
    return sql.Identifier(name)
