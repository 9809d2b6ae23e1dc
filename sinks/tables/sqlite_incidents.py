"""Incidents in SQLite tables, for the step that computes them: embedded beside the pipeline, or behind Kafka.

Embedded it writes on the pipeline's own connection: another one would empty that one's cache of pages
with every write. Never makes or changes the schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import orjson

from schemas.incidents import GroupState, IncidentOutputs
from schemas.personal import Digests
from schemas.records import Transition
from schemas.tallies import Tally
from schemas.times import epoch_ms
from schemas.topics import FAILURES, TALLIES
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
from sinks.tables.sqlite_personal import erasures, last_erasure
from sinks.tables.sqlite_turns import transaction
from sinks.tables.sqlite_writer import MIGRATIONS_PACKAGE
from sinks.tables.trouble import TablesError

#: Of the two topics, embedded: positions are a `seq`, and tallies are deleted once the step has had them.
FAILURES_AT: Final = (FAILURES.name, 0)
TALLIES_AT: Final = (TALLIES.name, 0)

_NEEDED: Final = 7  # the migration that makes what is used here
_BUSY_TIMEOUT_S: Final = 30.0
_IDS_PER_QUERY: Final = 500
_GROUPS: Final = (
    "SELECT group_id, due_ms, g.state, closed_by_hand_at FROM incident_groups AS g "
    "LEFT JOIN incidents ON incident_id = group_id WHERE "
)
_NOW: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_SET_GROUP: Final = "INSERT OR REPLACE INTO incident_groups (group_id, due_ms, state) VALUES (?, ?, ?)"
_SET_INCIDENT: Final = (
    f"INSERT INTO incidents ({', '.join(INCIDENT_COLUMNS)}) VALUES ({', '.join('?' * len(INCIDENT_COLUMNS))}) "  # noqa: S608  columns of our own
    f"ON CONFLICT (incident_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in INCIDENT_COLUMNS)}"
)
_ADD_CHANGE: Final = (
    f"INSERT INTO incident_changes ({', '.join(CHANGE_COLUMNS)}, made_at) "  # noqa: S608  columns of our own
    f"VALUES ({', '.join('?' * len(CHANGE_COLUMNS))}, {_NOW}) ON CONFLICT (change_id) DO NOTHING"
)
_UNPUBLISHED: Final = (
    "SELECT seq, record, silenced_until, acknowledged_at FROM incident_changes AS c "
    "LEFT JOIN incidents AS i ON i.incident_id = c.incident_id WHERE published_at IS NULL ORDER BY seq LIMIT ?"
)
#: The last one stays, or SQLite would give its number again, and who reads by number would pass the next one over.
_DELETE_OLD: Final = (
    f"DELETE FROM incident_changes WHERE made_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{CHANGES_KEPT_DAYS} days') "  # noqa: S608  a number of our own
    "AND seq < (SELECT max(seq) FROM incident_changes) AND (published_at IS NOT NULL OR ?)"
)
_FAILURES_FROM: Final = "SELECT coalesce(max(next_offset), 0) FROM positions WHERE topic = ? AND partition = ?"
_FAILURES: Final = (
    f"SELECT seq, {', '.join(Transition.__annotations__)} FROM failures WHERE seq >= ? ORDER BY seq LIMIT ?"  # noqa: S608  names of our own
)
#: As the index on them says what a failure is: without it every transition would be looked at.
_WAITING: Final = (
    "SELECT (SELECT count(*) FROM tallies) + (SELECT count(*) FROM transition_log WHERE seq >= "  # noqa: S608  our own
    f"({_FAILURES_FROM}) AND outcome = 'failed' "
    "AND (from_status IS NULL OR from_status NOT IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced')))"
)


class SqliteIncidents:
    """`IncidentTables` on a connection that begins no transaction by itself.

    `held` is the list of what was erased, for a step that reads topics; tables hold nothing of it any more.
    """

    def __init__(self, db: sqlite3.Connection, held: HeldList | None = None) -> None:
        self._db = db
        self._held = held

    def close(self) -> None:
        """See `IncidentTables`."""
        self._db.close()

    def positions(self) -> dict[tuple[str, int], int]:
        """See `IncidentTables`; those of other readers are there too."""
        rows = self._db.execute("SELECT topic, partition, next_offset FROM positions")
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def watermark_ms(self) -> int | None:
        """See `IncidentTables`."""
        row = self._db.execute("SELECT watermark_ms FROM incident_clock").fetchone()
        return cast(int, row[0]) if row else None

    def groups(self, group_ids: Iterable[str]) -> dict[str, GroupState]:
        """See `schemas.incidents.GroupStore`."""
        wanted = list(group_ids)
        found: dict[str, GroupState] = {}
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            chunk = wanted[start : start + _IDS_PER_QUERY]
            rows = self._db.execute(f"{_GROUPS} group_id IN ({', '.join('?' * len(chunk))})", chunk)
            found.update((row[0], _group_of(row)) for row in rows)
        return found

    def due(self, before_ms: int, *, limit: int) -> list[GroupState]:
        """See `schemas.incidents.GroupStore`."""
        query = f"{_GROUPS} due_ms <= ? ORDER BY due_ms, group_id LIMIT ?"
        return [_group_of(row) for row in self._db.execute(query, (before_ms, limit))]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `IncidentTables`."""
        with transaction(self._db):
            yield

    def write(self, outputs: IncidentOutputs, positions: Positions, *, watermark_ms: int) -> int:
        """See `IncidentTables`. Raises `ErasureKeyError` beside a list of what was erased that it has no key for."""
        redactor = None
        if self._held is not None:
            redactor = self._held.redactor(last_erasure(self._db), lambda: erasures(self._db))
        if redactor is not None:
            outputs = incidents_held_to(redactor, outputs)
        ended = [(group.group_id,) for group in outputs.groups if not group.state]
        self._db.executemany("DELETE FROM incident_groups WHERE group_id = ?", ended)
        self._db.executemany(_SET_GROUP, [group[:3] for group in outputs.groups if group.state])
        self._db.executemany(_SET_INCIDENT, map(incident_row, outputs.incidents))
        self._db.executemany("INSERT OR IGNORE INTO incident_samples VALUES (?, ?)", sample_rows(outputs.incidents))
        new = self._db.executemany(_ADD_CHANGE, map(change_row, outputs.changes)).rowcount if outputs.changes else 0
        self._db.executemany(
            "INSERT OR REPLACE INTO positions (topic, partition, next_offset) VALUES (?, ?, ?)",
            [(*place, next_offset) for place, next_offset in positions.items()],
        )
        self._db.execute("INSERT OR REPLACE INTO incident_clock (one, watermark_ms) VALUES (1, ?)", (watermark_ms,))
        return new

    def unpublished(self, limit: int) -> list[Unpublished]:
        """See `IncidentTables`."""
        return [unpublished_of(*row) for row in self._db.execute(_UNPUBLISHED, (limit,))]

    def mark_published(self, seqs: Sequence[int]) -> None:
        """See `IncidentTables`."""
        with self.transaction():
            mark = f"UPDATE incident_changes SET published_at = {_NOW} WHERE seq = ?"  # noqa: S608  a function of SQLite's
            self._db.executemany(mark, [(seq,) for seq in seqs])

    def delete_old_changes(self, *, published: bool) -> int:
        """See `IncidentTables`."""
        with self.transaction():
            return self._db.execute(_DELETE_OLD, (not published,)).rowcount


class Queued(NamedTuple):
    """The oldest failures and tallies that the step has not had. `next_*`: where reading goes on behind these."""

    failures: list[tuple[int, Transition]]
    tallies: list[tuple[int, Tally]]
    next_failure: int
    next_tally: int


class EmbeddedIncidents(SqliteIncidents):
    """The same beside the embedded pipeline, whose failures and tallies lie in the same file."""

    def queued(self, most_failures: int, most_tallies: int) -> Queued:
        """With their `seq`, in its order."""
        at = self._db.execute(_FAILURES_FROM, FAILURES_AT).fetchone()[0]
        failures = self._db.execute(_FAILURES, (at, most_failures)).fetchall()
        tallies = self._db.execute("SELECT seq, record FROM tallies ORDER BY seq LIMIT ?", (most_tallies,)).fetchall()
        return Queued(
            [(row[0], _failure_of(row)) for row in failures],
            [(seq, cast(Tally, orjson.loads(record))) for seq, record in tallies],
            failures[-1][0] + 1 if failures else at,
            tallies[-1][0] + 1 if tallies else 0,
        )

    def write_turn(self, outputs: IncidentOutputs, next_failure: int, next_tally: int, *, watermark_ms: int) -> int:
        """`write`, with the step having had everything before these. Inside a transaction."""
        self._db.execute("DELETE FROM tallies WHERE seq < ?", (next_tally,))
        return self.write(outputs, {FAILURES_AT: next_failure}, watermark_ms=watermark_ms)


def incidents_waiting(path: Path) -> int:
    """How many failures and tallies of the embedded pipeline the step has not had; 0 while there are no tables."""
    if not path.is_file():
        return 0
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'incident_clock'").fetchone():
            return 0
        return cast(int, db.execute(_WAITING, FAILURES_AT).fetchone()[0])


def open_sqlite_incidents(path: Path, digests: Digests | None = None) -> SqliteIncidents:
    """On a file of tables that the tables sink made. The caller holds the directory's lock for incidents.

    Raises `TablesError` while the tables are not there or older than this release needs, `MigrationError` when
    they are newer, `sqlite3.Error`.
    """
    if not path.is_file():
        raise TablesError(f"{path} is not there yet; `sendtrace sink tables` makes it")
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _check_schema(db, path)
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return SqliteIncidents(db, HeldList(digests))


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    ledger = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    done = dict(db.execute("SELECT number, digest FROM schema_migrations").fetchall()) if ledger else {}
    check(done, load(MIGRATIONS_PACKAGE), elsewhere="data directory")
    if max(done, default=0) < _NEEDED:
        raise TablesError(too_old(str(path), max(done, default=0), _NEEDED))


def too_old(where: str, found: int, needed: int) -> str:
    """What to say of tables that have no incidents yet."""
    return (
        f"{where}: the tables are at migration {found:04d}, incidents need {needed:04d}; "
        "start `sendtrace sink tables` of this release, which makes them"
    )


def _group_of(row: Sequence[Any]) -> GroupState:
    group_id, due_ms, state, closed_at = row
    return GroupState(group_id, due_ms, bytes(state), None if closed_at is None else epoch_ms(closed_at))


def _failure_of(row: Sequence[Any]) -> Transition:
    record = dict(zip(Transition.__annotations__, row[1:], strict=True))
    record["conflict"] = bool(record["conflict"])
    return cast(Transition, record)
