"""The tables of the pipeline on Kafka in Postgres: a set of changes with its positions, or nothing.

There is one writer, which holds an advisory lock for as long as its connection lives. So numbers of
rows are given in the order in which the rows become visible, and a reader may go on from the last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import psycopg

from schemas.personal import Digests
from schemas.topics import FAILURES, TALLIES
from sinks.personal.held import HeldList
from sinks.tables.changes import Changes, Expired, Positions, Retention
from sinks.tables.postgres_connect import Connection, connect
from sinks.tables.postgres_merge import STAGING, write_batch
from sinks.tables.postgres_partitions import drop_before, make_ahead
from sinks.tables.postgres_personal import held
from sinks.tables.postgres_schema import AlreadyWritingError, lock, migrate
from sinks.tables.trouble import TablesError

__all__ = ["AlreadyWritingError", "PositionsMovedError", "PostgresTables"]

POSITIONS: Final = "SELECT topic, partition, next_offset FROM positions"
#: Those of the incident step are somebody else's to write.
_OWN: Final = f"{POSITIONS} WHERE topic NOT IN ('{FAILURES.name}', '{TALLIES.name}')"
SET_AT: Final = (
    "INSERT INTO positions SELECT * FROM unnest(%s::text[], %s::integer[], %s::bigint[]) "
    "ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset"
)
#: Some thousand at a time: no transaction holds rows, or the next batch, for long.
_EXPIRE_DEAD: Final = (
    "DELETE FROM dead_letters WHERE position = ANY(ARRAY("
    "SELECT position FROM dead_letters WHERE received_at < %s LIMIT 5000))"
)


class PositionsMovedError(TablesError):
    """Somebody else wrote these tables since `positions` was asked: ask again, and read on from there."""


class PostgresTables:
    """A `TablesWriter`. Creates the tables and brings their schema up to date.

    `url` is what libpq takes. The constructor waits while another sink writes, or raises
    `AlreadyWritingError` with `wait=False`; raises `MigrationError` when the schema is newer than this
    release or cannot be made, `psycopg.OperationalError` when the database is away. Rows are held to the list
    of what was erased, which is kept under the key of `digests`.
    """

    def __init__(self, url: str, *, wait: bool = True, digests: Digests | None = None) -> None:
        self._url = url
        self._digests = digests
        self._held = HeldList(digests)
        self._rows_set_aside = 0
        self._db: Connection | None = self._open(wait=wait)
        self._known: Positions = {}
        try:
            self.positions()
        except BaseException:
            self.close()
            raise

    @property
    def rows_set_aside(self) -> int:
        """How many rows Postgres refused since this was made."""
        return self._rows_set_aside

    def close(self) -> None:
        """See `TablesWriter`. Another sink may write from now on."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def positions(self) -> dict[tuple[str, int], int]:
        """See `TablesWriter`. Raises as `write_changes` does."""
        with self._trouble():
            self._known = _positions(self._connected())
        return dict(self._known)

    def write_changes(self, changes: Changes) -> None:
        """See `TablesWriter`. Changes that are in the tables already are left out; no positions, no such look.

        Raises `psycopg.OperationalError` for trouble with the database, also `AlreadyWritingError` where
        another sink has taken over or an own session that was cut off is not over yet: call again, with
        the same changes. Raises `PositionsMovedError` where that would not help.
        """
        with self._trouble(), self._list_of_now():
            db = self._connected()
            with db.transaction():
                if self._is_written(_positions(db, " FOR UPDATE"), changes.positions):
                    return
                batch = held(db, self._held, self._digests, changes.batch)
                refused = write_batch(db, batch, changes.accepted)
                places = list(changes.positions)
                columns = ([topic for topic, _ in places], [partition for _, partition in places])
                db.execute(SET_AT, (*columns, list(changes.positions.values())))
            self._known = {**self._known, **changes.positions}
            self._rows_set_aside += refused

    def expire(self, retention: Retention) -> Expired:
        """See `TablesWriter`. Makes the partitions of the next months besides. Raises as `write_changes` does."""
        with self._trouble():
            db = self._connected()
            make_ahead(db)
            deleted = 0
            while count := db.execute(_EXPIRE_DEAD, (retention.dead_letters_before,)).rowcount:
                deleted += count
            return Expired(deleted, drop_before(db, retention.transitions_before))

    def _is_written(self, found: Positions, given: Positions) -> bool:
        """Whether the tables have these changes: the answer to an earlier commit of them may have been lost."""
        if given and all(found.get(place, 0) >= next_offset for place, next_offset in given.items()):
            self._known = dict(found)
            return True
        if found != self._known or any(found.get(place, 0) > next_offset for place, next_offset in given.items()):
            raise PositionsMovedError("another sink wrote these tables meanwhile; start again from their positions")
        return False

    def _connected(self) -> Connection:
        if self._db is None:
            self._db = self._open(wait=False)
        return self._db

    def _open(self, *, wait: bool) -> Connection:
        db = connect(self._url)
        try:
            lock(db, wait=wait)
            migrate(db)
            make_ahead(db)
            db.execute(STAGING)
        except BaseException:
            db.close()
            raise
        return db

    @contextlib.contextmanager
    def _list_of_now(self) -> Iterator[None]:
        """What was read of the list of what was erased is forgotten with a transaction that was not written."""
        try:
            yield
        except BaseException:
            self._held = HeldList(self._digests)
            raise

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if self._db is not None and (self._db.closed or self._db.broken):
                self.close()
                if not isinstance(error, psycopg.OperationalError):
                    raise psycopg.OperationalError(f"the connection was lost: {error}") from error
            raise


def _positions(db: Connection, clause: str = "") -> dict[tuple[str, int], int]:
    rows = db.execute(_OWN + clause)
    return {(topic, partition): next_offset for topic, partition, next_offset in rows}
