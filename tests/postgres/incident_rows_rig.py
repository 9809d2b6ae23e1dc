"""Incidents in tables of both databases, put there as rows: what the tests of their readers share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from schemas.codec import check
from schemas.incidents import Incident, IncidentChange, IncidentChangeWord
from sinks.tables.asking import Asking, asking_postgres, asking_sqlite
from sinks.tables.incident_orders import IncidentOrders
from sinks.tables.incident_rows import INCIDENT_COLUMNS
from sinks.tables.postgres_connect import connect
from sinks.tables.postgres_incident_orders import PostgresIncidentOrders
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_incident_orders import SqliteIncidentOrders
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.tables_reader import TablesReader

MESSAGE = "0123456789abcdef0123456789abcdef"


def at(minute: int) -> str:
    """That minute of an hour of 2020-09-01."""
    return f"2020-09-01T10:{minute:02d}:00.000Z"


def incident(name: str = "a", **changes: object) -> Incident:
    """An incident whose id is 32 times `name`'s first letter, checked."""
    given = {
        "incident_id": (name * 32)[:32],
        "rule": "hard_bounce_rate",
        "kind": "rate",
        "severity": "error",
        "state": "open",
        "source": "braze",
        "provider": "braze",
        "campaign_id": "c1",
        "class": "unknown_recipient",
        "domain": None,
        "count": 1_204,
        "total": 20_000,
        "first_seen": at(0),
        "last_seen": at(5),
        "opened_at": at(1),
        "resolved_at": None,
        "title": "6.0 % of campaign c1 at braze bounce: the mailbox does not exist",
        "advice": "Stop sending to these addresses, and look where the list comes from.",
        "samples": [sample()],
        "silenced_until": None,
        "acknowledged_at": None,
    }
    return check(Incident, {**given, **changes})


def sample(**changes: object) -> dict[str, object]:
    """A postback behind an incident."""
    given: dict[str, object] = {
        "message_id": MESSAGE,
        "receipt_id": "01744758-7000-7000-8000-000000000001",
        "received_at": at(0),
        "status": "bounced",
        "reason": "550 5.1.1 No such user",
    }
    return {**given, **changes}


def change(
    of: Incident, word: IncidentChangeWord, minute: int, *, name: str | None = None, **changes: object
) -> IncidentChange:
    """A change of an incident, which was then as `changes` say."""
    then = {**of, **changes}
    change_id = name or f"{of['incident_id']}-{word}-{minute}"
    return check(IncidentChange, {"change_id": change_id, "change": word, "at": at(minute), "incident": then})


def put(ask: Asking, *incidents: Incident, changes: tuple[IncidentChange, ...] = ()) -> None:
    """Write them as rows."""
    columns, marks = ", ".join(INCIDENT_COLUMNS), ", ".join("?" * len(INCIDENT_COLUMNS))
    for one in incidents:
        row: dict[str, Any] = {**one, "samples": orjson.dumps(one["samples"]).decode()}
        ask.rows(f"INSERT INTO incidents ({columns}) VALUES ({marks})", *row.values())  # noqa: S608  columns of our own
        for message_id in {found["message_id"] for found in one["samples"]} - {None}:
            ask.rows("INSERT INTO incident_samples VALUES (?, ?)", message_id, one["incident_id"])
    for told in changes:
        ask.rows(
            "INSERT INTO incident_changes (change_id, incident_id, change, at, record, made_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(told["change_id"], told["incident"]["incident_id"], told["change"], told["at"]),
            *(orjson.dumps(told).decode(), told["at"]),
        )


def deliver(ask: Asking, of: IncidentChange, *, seq: int, target: str = "pager", **changes: object) -> None:
    """Write what became of telling a target of a change: delivered at the first attempt, or as `changes` say."""
    incident_id, message_id = of["incident"]["incident_id"], f"{target}-{of['change_id']}"
    row: dict[str, Any] = {"state": "delivered", "reason": None, "answer": "202 Accepted", "attempts": 1, **changes}
    ask.rows(
        "INSERT INTO notification_messages (message_id, target, state, notice, made_at, attempts, tried_at, answer)"
        " VALUES (?, ?, ?, '{}', ?, ?, ?, ?)",
        *(message_id, target, row["state"], of["at"], row["attempts"], of["at"], row["answer"]),
    )
    ask.rows(
        "INSERT INTO deliveries (target, change_id, seq, incident_id, change, severity, state, reason, held, taken_at,"
        " not_before, message_id, settled_at) VALUES (?, ?, ?, ?, ?, 'error', ?, ?, 0, ?, ?, ?, ?)",
        *(target, of["change_id"], seq, incident_id, of["change"], row["state"], row["reason"], of["at"], of["at"]),
        *(message_id, of["at"]),
    )


def put_in_sqlite(path: Path, *incidents: Incident, changes: tuple[IncidentChange, ...] = ()) -> None:
    """Into tables that are there, whoever works on them."""
    with closing(sqlite3.connect(path, timeout=10)) as db, db:
        put(asking_sqlite(db), *incidents, changes=changes)


class Tables(NamedTuple):
    """One database with empty tables, and everybody who works on its incidents."""

    name: str
    place: str
    reader: TablesReader
    orders: IncidentOrders

    def put(self, *incidents: Incident, changes: tuple[IncidentChange, ...] = ()) -> None:
        """Write rows."""
        with self.asking() as ask:
            put(ask, *incidents, changes=changes)

    @contextmanager
    def asking(self) -> Iterator[Asking]:
        """A connection of its own, all in one transaction."""
        if self.name == "sqlite":
            with closing(sqlite3.connect(self.place)) as db, db:
                yield asking_sqlite(db)
        else:
            with closing(connect(self.place)) as postgres, postgres.transaction():
                yield asking_postgres(postgres)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What is there."""
        with self.asking() as ask:
            return [tuple(row) for row in ask.rows(sql)]


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tables]:
    """Empty tables, once in each database."""
    if request.param == "sqlite":
        path = tmp_path / "tables.db"
        SqliteSink(path).close()
        with closing(SqliteReader(path)) as reader:
            yield Tables("sqlite", str(path), reader, SqliteIncidentOrders(path))
        return
    url = request.getfixturevalue("postgres_url")
    PostgresTables(url).close()
    with closing(PostgresReader(url)) as postgres_reader:
        yield Tables("postgres", url, postgres_reader, PostgresIncidentOrders(url))
