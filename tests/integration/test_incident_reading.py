"""Incidents are read alike from both databases: lists in whole pages, one with its history, those of a message."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import check
from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident
from sinks.tables.incident_reading import SHOWN_EACH_END
from sinks.tables.pages import CursorError, cursor_after
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.tables_reader import TablesReader
from tests.postgres.incident_rows_rig import MESSAGE, Tables, at, change, db, deliver, incident, sample

__all__ = ["db"]

Ask = Callable[[TablesReader], object]
FOUR = (
    incident("a", last_seen=at(5), source="nrs", campaign_id="9"),
    incident("b", last_seen=at(7), severity="critical", rule="template"),
    incident("c", last_seen=at(7), state="resolved", resolved_at=at(20), campaign_id=None),
    incident("d", last_seen=at(6), samples=[], **{"class": "blocked"}),
)


def names(incidents: list[Incident]) -> str:
    return "".join(one["incident_id"][0] for one in incidents)


def pages(reader: TablesReader, *, limit: int) -> list[str]:
    found, cursor = [], None
    while True:
        page = reader.incidents(limit=limit, cursor=cursor)
        found.append(names(page.items))
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_every_incident_comes_back_as_it_was_written(db: Tables) -> None:
    told = incident(
        "e", samples=[sample(message_id=None, reason=None), sample(reason="é\u202e'\"%s ?")], silenced_until=at(59)
    )
    db.put(*FOUR, told)

    found = {one["incident_id"]: check(Incident, one) for one in db.reader.incidents().items}

    assert found == {one["incident_id"]: one for one in (*FOUR, told)}
    assert [list(one) for one in found.values()] == [list(told)] * 5
    assert [list(one["samples"][0]) for one in found.values() if one["samples"]] == [list(sample())] * 4


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "cbda"),
        ({"state": "open"}, "bda"),
        ({"state": "resolved"}, "c"),
        ({"severity": "critical"}, "b"),
        ({"source": "nrs"}, "a"),
        ({"campaign_id": "c1"}, "bd"),
        ({"class_": "blocked"}, "d"),
        ({"rule": "template", "state": "open"}, "b"),
        ({"source": "nrs", "severity": "critical"}, ""),
        ({"rule": "' OR 1"}, ""),
        ({"source": "a\0\ud800"}, ""),
    ],
)
def test_the_latest_news_come_first_and_every_filter_holds(db: Tables, asked: dict[str, Any], expected: str) -> None:
    db.put(*FOUR)

    page = db.reader.incidents(**asked)

    assert (names(page.items), page.next_cursor) == (expected, None)


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, ["c", "b", "d", "a"]), (2, ["cb", "da"]), (3, ["cbd", "a"]), (4, ["cbda"])]
)
def test_pages_are_whole_also_where_times_are_equal(db: Tables, limit: int, expected: list[str]) -> None:
    db.put(*FOUR)

    assert pages(db.reader, limit=limit) == expected


def test_pages_do_not_repeat_one_that_gets_news_meanwhile(db: Tables) -> None:
    db.put(*FOUR)
    first = db.reader.incidents(limit=2)
    db.put(incident("e", last_seen=at(30)))

    assert names(db.reader.incidents(limit=2, cursor=first.next_cursor).items) == "da"


@pytest.mark.parametrize("cursor", ["", "x", cursor_after("incidents", 5), cursor_after("dead", 5), "é", "a" * 300])
def test_a_cursor_of_another_list_is_refused(db: Tables, cursor: str) -> None:
    with pytest.raises(CursorError, match="no cursor of this list"):
        db.reader.incidents(cursor=cursor)


def test_one_comes_with_its_history_oldest_first(db: Tables) -> None:
    one = FOUR[0]
    opened = change(one, "opened", 1, count=50, total=800)
    db.put(*FOUR, changes=(opened, change(FOUR[1], "opened", 1), change(one, "escalated", 4, severity="critical")))

    found = db.reader.incident(one["incident_id"])

    assert {**check(IncidentDetail, found), "changes": []} == {**one, "changes": [], "notifications": []}
    assert found is not None
    assert [(step["change"], step["at"], step["severity"], step["count"]) for step in found["changes"]] == [
        ("opened", at(1), "error", 50),
        ("escalated", at(4), "critical", 1_204),
    ]


def test_of_a_long_history_both_ends_are_given(db: Tables) -> None:
    one = FOUR[0]
    many = range(2 * SHOWN_EACH_END + 5)
    db.put(one, changes=tuple(change(one, "updated", 2, name=str(number)) for number in many))

    found = db.reader.incident(one["incident_id"])

    assert found is not None
    shown = [int(step["change_id"]) for step in found["changes"]]
    assert shown == [*range(SHOWN_EACH_END), *range(SHOWN_EACH_END + 5, 2 * SHOWN_EACH_END + 5)]


def test_one_says_who_was_told_and_what_no_target_took(db: Tables) -> None:
    opened, escalated = change(FOUR[0], "opened", 1), change(FOUR[0], "escalated", 4)
    parked: dict[str, Any] = {"state": "parked", "reason": "gave up after 24 h", "answer": "500 é", "attempts": 9}
    db.put(*FOUR, changes=(opened, escalated))
    with db.asking() as ask:
        deliver(ask, escalated, seq=2, **parked)
        deliver(ask, opened, seq=1)
        deliver(ask, opened, seq=1, target="chat")

    found = check(IncidentDetail, db.reader.incident(FOUR[0]["incident_id"]))

    told = [(row["target"], row["change"], row["state"], row["answer"]) for row in found["notifications"]]
    assert told == [
        ("chat", "opened", "delivered", "202 Accepted"),
        ("pager", "opened", "delivered", "202 Accepted"),
        ("pager", "escalated", "parked", "500 é"),
    ]
    assert found["notifications"][2]["reason"] == "gave up after 24 h"
    assert found["notifications"][2]["attempts"] == 9
    assert db.reader.parked_notifications([one["incident_id"] for one in FOUR]) == {"a" * 32: 1}
    assert db.reader.parked_notifications([]) == {}


def test_ids_are_found_by_their_beginning(db: Tables) -> None:
    db.put(incident("ab"), incident("abc"), incident("b"))

    assert db.reader.incident_ids("ab") == [("ab" * 16), ("abc" * 11)[:32]]
    assert db.reader.incident_ids("ab", limit=1) == ["ab" * 16]
    assert db.reader.incident_ids("a%") == db.reader.incident_ids("a\0") == []


def test_a_message_knows_the_incidents_it_is_a_sample_of(db: Tables) -> None:
    db.put(*FOUR)

    links = db.reader.incidents_of_message(MESSAGE)

    assert [(link["incident_id"][0], link["state"]) for link in links] == [
        ("b", "open"),
        ("c", "resolved"),
        ("a", "open"),
    ]
    assert links[0]["title"] == FOUR[1]["title"]
    assert db.reader.incidents_of_message("another") == db.reader.incidents_of_message("\0") == []


def test_open_ones_are_counted_by_severity(db: Tables) -> None:
    db.put(*FOUR)

    assert db.reader.open_incidents() == {"critical": 1, "error": 2}


EMPTY: dict[str, Ask] = {
    "list": lambda reader: reader.incidents().items,
    "ids": lambda reader: reader.incident_ids("a"),
    "of a message": lambda reader: reader.incidents_of_message(MESSAGE),
    "silences": lambda reader: reader.silences(at(0)),
}


@pytest.mark.parametrize("ask", EMPTY.values(), ids=EMPTY)
def test_nothing_is_found_where_nothing_is(db: Tables, ask: Ask) -> None:
    assert ask(db.reader) == []
    assert db.reader.incident("a") is None
    assert db.reader.open_incidents() == {}


@pytest.mark.parametrize("ask", EMPTY.values(), ids=EMPTY)
def test_tables_of_an_older_release_have_no_incidents(tmp_path: Path, ask: Ask) -> None:
    with closing(sqlite3.connect(tmp_path / "tables.db")) as made:
        made.execute("CREATE TABLE progress (partition INTEGER)")
    with closing(SqliteReader(tmp_path / "tables.db")) as reader:
        assert ask(reader) == []
        assert reader.open_incidents() == {}
        assert reader.incident("a") is None


def test_before_there_are_tables_there_is_nothing(tmp_path: Path, postgres_url: str) -> None:
    for made in (SqliteReader(tmp_path / "none.db"), PostgresReader(postgres_url)):
        with closing(made) as reader:
            assert reader.incidents().items == []
            assert reader.silences(at(0)) == []
            assert reader.open_incidents() == {}


def test_the_list_of_what_is_open_is_found_by_an_index(tmp_path: Path) -> None:
    SqliteSink(tmp_path / "tables.db").close()
    with closing(sqlite3.connect(tmp_path / "tables.db")) as plain:
        sql = "SELECT * FROM incidents WHERE state = 'open' AND (last_seen, incident_id) < ('2', 'a')"
        plan = plain.execute(f"EXPLAIN QUERY PLAN {sql} ORDER BY last_seen DESC, incident_id DESC LIMIT 2").fetchall()

    assert "incidents_by_state (state=? AND (last_seen,incident_id)<(?,?))" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
