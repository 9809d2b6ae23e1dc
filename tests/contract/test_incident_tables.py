"""The port of the incident step's tables, held to on both databases; incidents of people's orders included."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

import psycopg
import pytest

from schemas.incidents import GroupState, Incident, IncidentChange, IncidentOutputs, IncidentState
from schemas.times import epoch_ms
from sinks.tables.incident_tables import IncidentTables
from sinks.tables.postgres_incidents import PostgresIncidents
from sinks.tables.postgres_schema import AlreadyWritingError
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_incidents import open_sqlite_incidents
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.trouble import TablesError

AT = "2026-11-21T10:00:00.000Z"
LATER = "2026-11-21T11:00:00.000Z"
NOTHING = IncidentOutputs([], [], [])


class Rig(NamedTuple):
    """Tables of one kind: `open` as the step does, `sql` as a person or an analyst does."""

    open: Callable[[], IncidentTables]
    sql: Callable[[str], list[tuple[Any, ...]]]
    make: Callable[[], None]
    ledger: str


def sqlite_rig(path: Path) -> Rig:
    def sql(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            return db.execute(query).fetchall()

    return Rig(lambda: open_sqlite_incidents(path), sql, lambda: SqliteSink(path).close(), "schema_migrations")


def postgres_rig(url: str) -> Rig:
    def sql(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url, autocommit=True) as db:
            cursor = db.execute(query)
            return cursor.fetchall() if cursor.description else []

    return Rig(lambda: PostgresIncidents(url), sql, lambda: PostgresTables(url).close(), "sendtrace_migrations")


@pytest.fixture(params=["sqlite", "postgres"])
def unmade(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    if request.param == "sqlite":
        return sqlite_rig(tmp_path / "tables.db")
    return postgres_rig(request.getfixturevalue("postgres_url"))


@pytest.fixture
def rig(unmade: Rig) -> Rig:
    unmade.make()
    return unmade


@pytest.fixture
def tables(rig: Rig) -> Iterator[IncidentTables]:
    found = rig.open()
    yield found
    found.close()


def incident(name: str = "i1", *, state: IncidentState = "open", count: int = 1, reason: str = "full") -> Incident:
    return {
        "incident_id": name,
        "rule": "aborts",
        "kind": "count",
        "severity": "error",
        "state": state,
        "source": "braze",
        "provider": "braze",
        "campaign_id": "c1",
        "class": None,
        "domain": None,
        "count": count,
        "total": None,
        "first_seen": AT,
        "last_seen": AT,
        "opened_at": AT,
        "resolved_at": None,
        "title": f"Aborts: {reason}",
        "advice": "Look at the template.",
        "samples": [
            {"message_id": "m1", "receipt_id": "r1", "received_at": AT, "status": "aborted", "reason": reason},
            {"message_id": None, "receipt_id": "r2", "received_at": AT, "status": "dead", "reason": None},
        ],
        "silenced_until": None,
        "acknowledged_at": None,
    }


def change(number: int, of: Incident) -> IncidentChange:
    return {"change_id": f"change-{number}", "change": "updated", "at": AT, "incident": of}


def write(tables: IncidentTables, outputs: IncidentOutputs, *, watermark_ms: int = 5) -> int:
    with tables.transaction():
        return tables.write(outputs, {("failures", 0): 7, ("tallies", 2): 3}, watermark_ms=watermark_ms)


def test_what_was_written_is_there_and_where_to_go_on(rig: Rig, tables: IncidentTables) -> None:
    assert (tables.positions(), tables.watermark_ms()) == ({}, None)
    write(tables, IncidentOutputs([GroupState("i1", 10, b"\x00one")], [incident()], [change(1, incident())]))

    assert (tables.positions(), tables.watermark_ms()) == ({("failures", 0): 7, ("tallies", 2): 3}, 5)
    assert tables.groups(["i1", "none"]) == {"i1": GroupState("i1", 10, b"\x00one")}
    assert rig.sql("SELECT * FROM incident_samples") == [("m1", "i1")]
    assert [(one.seq, one.change) for one in tables.unpublished(5)] == [(1, change(1, incident()))]


def test_nothing_of_a_transaction_that_fails_is_there(rig: Rig, tables: IncidentTables) -> None:
    outputs = IncidentOutputs([GroupState("i1", 10, b"one")], [incident()], [change(1, incident())])
    broken = outputs._replace(changes=[change(1, {**incident(), "title": cast(str, object())})])
    with pytest.raises(TypeError):
        write(tables, broken)

    assert (tables.positions(), tables.watermark_ms(), tables.groups(["i1"])) == ({}, None, {})
    assert rig.sql("SELECT count(*) FROM incidents") == rig.sql("SELECT count(*) FROM incident_changes") == [(0,)]


def test_groups_are_due_the_longest_due_first_and_are_forgotten_when_empty(tables: IncidentTables) -> None:
    groups = [
        GroupState("a", 30, b"a"),
        GroupState("b", 10, b"b"),
        GroupState("c", None, b"c"),
        GroupState("d", 20, b"d"),
    ]
    write(tables, NOTHING._replace(groups=groups))

    assert [group.group_id for group in tables.due(29, limit=5)] == ["b", "d"]
    assert [group.group_id for group in tables.due(30, limit=1)] == ["b"]
    write(tables, NOTHING._replace(groups=[GroupState("b", None, b""), GroupState("d", 40, b"D")]))
    assert [group.group_id for group in tables.due(40, limit=5)] == ["a", "d"]
    assert sorted(tables.groups("abcd")) == ["a", "c", "d"]


def test_many_groups_are_written_and_found(tables: IncidentTables) -> None:
    groups = [GroupState(f"g{number}", number, b"%d" % number) for number in range(1_201)]
    write(tables, NOTHING._replace(groups=groups))

    assert tables.groups(group.group_id for group in groups) == {group.group_id: group for group in groups}


def test_a_change_that_is_there_is_not_written_again(rig: Rig, tables: IncidentTables) -> None:
    first, second = change(1, incident()), change(2, incident(count=5))
    assert write(tables, NOTHING._replace(changes=[first])) == 1
    assert write(tables, NOTHING._replace(changes=[{**first, "at": LATER}, second])) == 1

    assert [one.change for one in tables.unpublished(5)] == [first, second]
    assert rig.sql("SELECT change_id FROM incident_changes ORDER BY seq") == [("change-1",), ("change-2",)]


def test_what_people_did_stays_and_is_told(rig: Rig, tables: IncidentTables) -> None:
    write(tables, IncidentOutputs([GroupState("i1", 10, b"one")], [incident()], []))
    rig.sql(f"UPDATE incidents SET acknowledged_at = '{AT}', silenced_until = '{LATER}', closed_by_hand_at = '{LATER}'")  # noqa: S608  a time of our own

    write(tables, IncidentOutputs([], [incident(count=9)], [change(1, incident(count=9))]))

    assert rig.sql("SELECT count FROM incidents WHERE acknowledged_at IS NOT NULL") == [(9,)]
    assert tables.groups(["i1"])["i1"].closed_by_hand_ms == epoch_ms(LATER)
    assert tables.due(10, limit=1)[0].closed_by_hand_ms == epoch_ms(LATER)
    (told,) = tables.unpublished(5)
    assert (told.change["incident"]["acknowledged_at"], told.change["incident"]["silenced_until"]) == (AT, LATER)


def test_a_text_with_a_nul_is_kept_without_it(rig: Rig, tables: IncidentTables) -> None:
    odd = incident(reason="no\0thing")
    write(tables, IncidentOutputs([], [odd], [change(1, odd)]))

    assert rig.sql("SELECT title FROM incidents") == [("Aborts: no\ufffdthing",)]
    assert tables.unpublished(1)[0].change["incident"]["samples"][0]["reason"] == "no\ufffdthing"


def test_published_changes_are_not_told_again_and_end_after_their_time(rig: Rig, tables: IncidentTables) -> None:
    write(tables, NOTHING._replace(changes=[change(number, incident()) for number in range(4)]))
    tables.mark_published([one.seq for one in tables.unpublished(2)])
    rig.sql("UPDATE incident_changes SET made_at = '2026-01-01T00:00:00.000Z' WHERE change_id <> 'change-1'")

    assert [one.change["change_id"] for one in tables.unpublished(9)] == ["change-2", "change-3"]
    assert tables.delete_old_changes(published=True) == 1
    assert tables.delete_old_changes(published=False) >= 1
    write(tables, NOTHING._replace(changes=[change(9, incident())]))
    assert max(rig.sql("SELECT seq FROM incident_changes")) == (5,), "no number is given twice"


def test_tables_that_are_missing_are_said_so_in_one_line(unmade: Rig) -> None:
    with pytest.raises(TablesError, match=r"^[^\n]*`sendtrace sink tables`[^\n]*$"):
        unmade.open()


def test_tables_that_are_too_old_are_said_so_in_one_line(rig: Rig) -> None:
    rig.sql(f"DELETE FROM {rig.ledger} WHERE number > 1")  # noqa: S608  names of our own

    with pytest.raises(TablesError, match=r"at migration 0001, incidents need 000\d; start `sendtrace sink tables`"):
        rig.open()


def test_one_computes_incidents_of_a_database_at_a_time(postgres_url: str) -> None:
    rig = postgres_rig(postgres_url)
    rig.make()
    first = rig.open()
    with closing(first), pytest.raises(AlreadyWritingError, match="another `sendtrace sink incidents` works on these"):
        rig.open()
    rig.open().close()


def test_the_tables_sink_writes_beside_it(postgres_url: str) -> None:
    sink = PostgresTables(postgres_url)
    with closing(sink), closing(PostgresIncidents(postgres_url)) as tables:
        before = sink.positions()
        write(tables, NOTHING)
        assert sink.positions() == before
