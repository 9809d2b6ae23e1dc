"""Incidents in Postgres tables, for the step that computes them behind Kafka. Never makes or changes the schema.

There is one writer, by an advisory lock of its own that lives as long as the connection: the tables sink
has another, and both write beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

from schemas.incidents import GroupState, IncidentOutputs
from schemas.personal import Digests
from schemas.times import epoch_ms
from sinks.personal.held import HeldList
from sinks.personal.incident_outputs import incidents_held_to
from sinks.tables.incident_tables import (
    CHANGE_COLUMNS,
    CHANGES_KEPT_DAYS,
    INCIDENT_COLUMNS,
    Positions,
    Unpublished,
    change_row,
    incident_row,
    sample_rows,
    unpublished_of,
)
from sinks.tables.migrations import check, load
from sinks.tables.postgres_connect import Connection, connect
from sinks.tables.postgres_personal import locked_redactor
from sinks.tables.postgres_schema import INCIDENTS_LOCK, MIGRATIONS_PACKAGE, lock
from sinks.tables.postgres_writer import POSITIONS, SET_AT
from sinks.tables.sqlite_incidents import too_old
from sinks.tables.trouble import TablesError

_NEEDED: Final = 5  # the migration that makes what is used here
_GROUP_COLUMNS: Final = "SELECT group_id, due_ms, state FROM incident_groups WHERE "
#: A person who resolves an incident meanwhile waits until this transaction is over, and is not overwritten.
_CLOSED: Final = "SELECT incident_id, closed_by_hand_at FROM incidents WHERE incident_id = ANY(%s) FOR NO KEY UPDATE"
_SET_GROUPS: Final = (
    "INSERT INTO incident_groups (group_id, due_ms, state) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[]) "
    "ON CONFLICT (group_id) DO UPDATE SET due_ms = excluded.due_ms, state = excluded.state"
)
_SET_INCIDENT: Final = (
    f"INSERT INTO incidents ({', '.join(INCIDENT_COLUMNS)}) VALUES ({', '.join(['%s'] * len(INCIDENT_COLUMNS))}) "  # noqa: S608  columns of our own
    f"ON CONFLICT (incident_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in INCIDENT_COLUMNS)}"
)
_ADD_SAMPLES: Final = (
    "INSERT INTO incident_samples (message_id, incident_id) SELECT * FROM unnest(%s::text[], %s::text[]) "
    "ON CONFLICT DO NOTHING"
)
#: People add changes too (`sinks.tables.incident_orders`). With this their numbers become visible in their order, so
#: that who reads on from the last number misses none.
_IN_ORDER: Final = "LOCK TABLE incident_changes IN SHARE ROW EXCLUSIVE MODE"
_ADD_CHANGE: Final = (
    f"INSERT INTO incident_changes ({', '.join(CHANGE_COLUMNS)}) "  # noqa: S608  columns of our own
    f"VALUES ({', '.join(['%s'] * len(CHANGE_COLUMNS))}) ON CONFLICT (change_id) DO NOTHING"
)
_SET_CLOCK: Final = (
    "INSERT INTO incident_clock (one, watermark_ms) VALUES (1, %s) "
    "ON CONFLICT (one) DO UPDATE SET watermark_ms = excluded.watermark_ms"
)
_UNPUBLISHED: Final = (
    "SELECT seq, record, silenced_until, acknowledged_at FROM incident_changes AS c "
    "LEFT JOIN incidents AS i ON i.incident_id = c.incident_id WHERE published_at IS NULL ORDER BY seq LIMIT %s"
)
_DELETE_OLD: Final = (
    f"DELETE FROM incident_changes WHERE made_at < now() - interval '{CHANGES_KEPT_DAYS} days' "  # noqa: S608  a number of our own
    "AND (published_at IS NOT NULL OR %s)"
)


class PostgresIncidents:
    """`IncidentTables` of one database.

    `url` is what libpq takes. Raises `AlreadyWritingError` where another computes incidents there, `TablesError`
    while the tables are not there or older than this release needs, `MigrationError` when they are newer, and
    `psycopg.OperationalError` when the database is away; after any trouble it is to be closed and made anew.
    """

    def __init__(self, url: str, digests: Digests | None = None) -> None:
        self._held = HeldList(digests)
        self._db: Connection = connect(url)
        try:
            lock(self._db, wait=False, name=INCIDENTS_LOCK)
            _check_schema(self._db)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """See `IncidentTables`. Another may write from now on."""
        self._db.close()

    def positions(self) -> dict[tuple[str, int], int]:
        """See `IncidentTables`; those of other readers are there too."""
        rows = self._db.execute(POSITIONS)
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def watermark_ms(self) -> int | None:
        """See `IncidentTables`."""
        row = self._db.execute("SELECT watermark_ms FROM incident_clock").fetchone()
        return cast(int, row[0]) if row else None

    def groups(self, group_ids: Iterable[str]) -> dict[str, GroupState]:
        """See `schemas.incidents.GroupStore`."""
        rows = self._db.execute(f"{_GROUP_COLUMNS} group_id = ANY(%s)", (list(group_ids),)).fetchall()
        return {group.group_id: group for group in self._with_closed(rows)}

    def due(self, before_ms: int, *, limit: int) -> list[GroupState]:
        """See `schemas.incidents.GroupStore`."""
        query = f"{_GROUP_COLUMNS} due_ms <= %s ORDER BY due_ms, group_id LIMIT %s"
        return self._with_closed(self._db.execute(query, (before_ms, limit)).fetchall())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `IncidentTables`."""
        with self._db.transaction():
            yield

    def write(self, outputs: IncidentOutputs, positions: Positions, *, watermark_ms: int) -> int:
        """See `IncidentTables`. Raises `ErasureKeyError` beside a list of what was erased that it has no key for."""
        db = self._db
        redactor = locked_redactor(db, self._held)
        if redactor is not None:
            outputs = incidents_held_to(redactor, outputs)
        ended = [group.group_id for group in outputs.groups if not group.state]
        if ended:
            db.execute("DELETE FROM incident_groups WHERE group_id = ANY(%s)", (ended,))
        kept = [group for group in outputs.groups if group.state]
        if kept:
            db.execute(_SET_GROUPS, tuple(map(list, zip(*(group[:3] for group in kept), strict=True))))
        if outputs.incidents:
            with db.cursor() as cursor:
                cursor.executemany(_SET_INCIDENT, map(incident_row, outputs.incidents))
            samples = sample_rows(outputs.incidents)
            db.execute(_ADD_SAMPLES, ([message_id for message_id, _ in samples], [name for _, name in samples]))
        new = self._add_changes(outputs)
        places = list(positions)
        columns = ([topic for topic, _ in places], [partition for _, partition in places])
        db.execute(SET_AT, (*columns, list(positions.values())))
        db.execute(_SET_CLOCK, (watermark_ms,))
        return new

    def _add_changes(self, outputs: IncidentOutputs) -> int:
        if not outputs.changes:
            return 0
        self._db.execute(_IN_ORDER)
        with self._db.cursor() as cursor:
            cursor.executemany(_ADD_CHANGE, map(change_row, outputs.changes))
            return cursor.rowcount

    def unpublished(self, limit: int) -> list[Unpublished]:
        """See `IncidentTables`."""
        return [unpublished_of(*row) for row in self._db.execute(_UNPUBLISHED, (limit,)).fetchall()]

    def mark_published(self, seqs: Sequence[int]) -> None:
        """See `IncidentTables`."""
        self._db.execute("UPDATE incident_changes SET published_at = now() WHERE seq = ANY(%s)", (list(seqs),))

    def delete_old_changes(self, *, published: bool) -> int:
        """See `IncidentTables`."""
        return self._db.execute(_DELETE_OLD, (not published,)).rowcount

    def _with_closed(self, rows: Sequence[tuple[str, int | None, bytes]]) -> list[GroupState]:
        closed: dict[str, str | None] = {}
        if rows:
            closed = dict(self._db.execute(_CLOSED, ([group_id for group_id, _, _ in rows],)).fetchall())
        found = []
        for group_id, due_ms, state in rows:
            closed_at = closed.get(group_id)
            found.append(GroupState(group_id, due_ms, bytes(state), None if closed_at is None else epoch_ms(closed_at)))
        return found


def _check_schema(db: Connection) -> None:
    done: dict[int, str] = {}
    if db.execute("SELECT to_regclass('sendtrace_migrations')").fetchone() != (None,):
        done = dict(db.execute("SELECT number, digest FROM sendtrace_migrations").fetchall())
    check(done, load(MIGRATIONS_PACKAGE), elsewhere="database")
    if max(done, default=0) < _NEEDED:
        raise TablesError(too_old("Postgres", max(done, default=0), _NEEDED))
