"""What people order of incidents is kept in both databases, beside whoever writes them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from processors.incidents.rules import DEFAULT_RULES
from processors.incidents.step import IncidentStep
from schemas.codec import check
from schemas.incident_views import id_of_resolved_by_hand
from schemas.incidents import IncidentChange
from schemas.records import Transition
from schemas.times import epoch_ms, iso_ms
from sinks.tables.postgres_incident_orders import PostgresIncidentOrders
from sinks.tables.sqlite_incident_orders import SqliteIncidentOrders
from sinks.tables.sqlite_incidents import SqliteIncidents, open_sqlite_incidents
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.trouble import TablesError
from tests.postgres.incident_rows_rig import Tables, at, db, incident
from tests.unit.cli_rig import Shell
from tests.unit.incident_rig import CATALOGUE, HOUR, NOON_MS, SECOND, failure

__all__ = ["db"]

ONE = incident("a")
ID = ONE["incident_id"]


def test_who_acknowledges_first_stays(db: Tables) -> None:
    db.put(ONE, incident("b"))

    assert db.orders.acknowledge(ID, now=at(10)) == {**ONE, "acknowledged_at": at(10)}
    assert db.orders.acknowledge(ID, now=at(11)) == {**ONE, "acknowledged_at": at(10)}
    assert db.reader.incident("b" * 32) == {**incident("b"), "changes": [], "notifications": []}


def test_an_acknowledgement_from_before_it_opened_again_is_over(db: Tables) -> None:
    db.put(incident("a", acknowledged_at=at(3), opened_at=at(9)))

    acknowledged = db.orders.acknowledge(ID, now=at(10))

    assert acknowledged is not None
    assert acknowledged["acknowledged_at"] == at(10)


def test_one_is_silenced_until_a_time_and_not_any_more(db: Tables) -> None:
    db.put(ONE)

    assert db.orders.silence(ID, until=at(30)) == {**ONE, "silenced_until": at(30)}
    assert db.orders.silence(ID, until=None) == ONE


def test_one_that_is_resolved_by_hand_is_over_at_once_and_told_once(db: Tables) -> None:
    db.put(ONE)

    resolved = db.orders.resolve(ID, now=at(10))

    assert resolved == {**ONE, "state": "resolved", "resolved_at": at(10)}
    assert db.orders.resolve(ID, now=at(11)) is None
    ((change_id, record, published),) = db.rows("SELECT change_id, record, published_at FROM incident_changes")
    told = check(IncidentChange, orjson.loads(str(record)))
    assert told == {"change_id": change_id, "change": "resolved", "at": at(10), "incident": resolved}
    assert (change_id, published) == (id_of_resolved_by_hand(ID, epoch_ms(at(10))), None)
    assert db.rows("SELECT closed_by_hand_at FROM incidents") == [(at(10),)]


def test_what_the_pipeline_told_of_it_meanwhile_is_not_told_twice(db: Tables) -> None:
    same = {"change_id": id_of_resolved_by_hand(ID, epoch_ms(at(10))), "change": "resolved", "at": at(10)}
    db.put(ONE, changes=(check(IncidentChange, {**same, "incident": ONE}),))

    assert db.orders.resolve(ID, now=at(10)) is not None
    assert db.rows("SELECT count(*) FROM incident_changes") == [(1,)]


def test_a_label_is_silenced_as_often_as_somebody_says_so(db: Tables) -> None:
    assert db.orders.silence_label("campaign_id", "c1", until=at(30), now=at(10))
    assert db.orders.silence_label("campaign_id", "c1", until=at(20), now=at(11))
    assert db.orders.silence_label("severity", "info", until=at(15), now=at(11))

    found = db.reader.silences(at(15))

    assert [(silence["value"], silence["until"], silence["made_at"]) for silence in found] == [
        ("c1", at(20), at(11)),
        ("c1", at(30), at(10)),
    ]
    assert db.orders.end_silences("campaign_id", "c1", now=at(16)) == 2
    assert db.reader.silences(at(16)) == []
    assert db.orders.end_silences("campaign_id", "c1", now=at(16)) == 0


@pytest.mark.parametrize("name", ["b" * 32, "", "a\0", "\ud800"])
def test_an_incident_that_is_not_there_is_none(db: Tables, name: str) -> None:
    db.put(ONE)

    assert db.orders.acknowledge(name, now=at(10)) is None
    assert db.orders.silence(name, until=at(10)) is None
    assert db.orders.resolve(name, now=at(10)) is None
    assert db.reader.incidents().items == [ONE]


def test_before_there_are_tables_no_order_is_taken(tmp_path: Path, postgres_url: str) -> None:
    for orders in (SqliteIncidentOrders(tmp_path / "none.db"), PostgresIncidentOrders(postgres_url)):
        assert orders.acknowledge(ID, now=at(10)) is None
        assert orders.silence_label("source", "braze", until=at(30), now=at(10)) is False
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_does_not_answer_is_one_line_without_its_password() -> None:
    orders = PostgresIncidentOrders("postgresql://me:secret@127.0.0.1:1/tables")

    with pytest.raises(TablesError, match="the tables cannot be written: ") as caught:
        orders.acknowledge(ID, now=at(10))

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("db", ["sqlite"], indirect=True)  # Postgres locks rows, not the file
def test_an_order_waits_for_the_batch_that_is_being_written(db: Tables) -> None:
    db.put(ONE)
    with closing(sqlite3.connect(db.place, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE incidents SET count = 2000")
        ordering = threading.Thread(target=db.orders.acknowledge, args=(ID,), kwargs={"now": at(10)})
        ordering.start()
        writer.execute("COMMIT")
        ordering.join(20)

    assert db.rows("SELECT count, acknowledged_at FROM incidents") == [(2_000, at(10))]


@pytest.mark.parametrize("db", ["postgres"], indirect=True)
def test_the_commands_give_their_orders_to_the_postgres_of_the_settings(
    db: Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", db.place)
    shell = Shell(tmp_path, capsys)
    shell("init")
    db.put(ONE)

    assert shell("incidents ack aaaaaa").out == f"acknowledged: aaaaaaaa  {ONE['title']}\n"
    assert shell("incidents silence source=braze --for 2h").out.endswith(" UTC: source=braze, 1 open now\n")
    assert shell("incidents resolve aaaaaa").out == f"resolved: aaaaaaaa  {ONE['title']}\n"
    assert shell("incidents").out == "none: nothing is known to be wrong\n"


def test_the_step_agrees_with_who_resolved_it_by_hand_and_tells_nothing_twice(tmp_path: Path) -> None:
    SqliteSink(tmp_path / "tables.db").close()
    orders = SqliteIncidentOrders(tmp_path / "tables.db")
    with (
        closing(open_sqlite_incidents(tmp_path / "tables.db")) as written,
        closing(SqliteReader(tmp_path / "tables.db")) as reader,
    ):
        step(written, NOON_MS, failure(NOON_MS, status="aborted", bounce_class="abort_template_error"))
        (opened,) = reader.incidents(state="open").items
        orders.resolve(opened["incident_id"], now=iso_ms(NOON_MS + SECOND))
        step(written, NOON_MS + 2 * SECOND)
        closed = reader.incident(opened["incident_id"])
        step(written, NOON_MS + HOUR, failure(NOON_MS + HOUR, status="aborted", bounce_class="abort_template_error"))
        again = reader.incident(opened["incident_id"])

    assert closed is not None
    assert again is not None
    assert (closed["state"], closed["resolved_at"]) == ("resolved", iso_ms(NOON_MS + SECOND))
    assert (again["state"], again["count"]) == ("open", 1)
    assert [change["change"] for change in again["changes"]] == ["opened", "resolved", "reopened"]


def step(written: SqliteIncidents, watermark_ms: int, *failures: Transition) -> None:
    """One call of the real step, and what a driver does with it."""
    with written.transaction():
        outputs = IncidentStep(DEFAULT_RULES, CATALOGUE).handle(written, failures, (), watermark_ms=watermark_ms)
        written.write(outputs, {}, watermark_ms=watermark_ms)
