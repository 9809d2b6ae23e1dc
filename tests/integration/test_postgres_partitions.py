"""`transitions` in Postgres by month: made ahead and on demand, dropped by retention, and made of a table with rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from sinks.tables.changes import Changes, Retention
from sinks.tables.migrations import MigrationError
from sinks.tables.postgres_partitions import drop_before
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PostgresTables
from tests.integration.read_rig import braze
from tests.postgres.changes_rig import Stream
from tests.postgres.tables_rig import reader, rows_of, tables
from tests.postgres.upgrade_rig import fill_transitions, old_tables

__all__ = ["reader", "tables"]

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'transitions'::regclass ORDER BY 1"
KEEP_ALL = Retention("2000-01-01T00:00:00.000Z", "2000-01-01T00:00:00.000Z")
ROWS = 30_000


def names(url: str) -> list[object]:
    return [name for (name,) in rows_of(url, PARTITIONS)]


def at(changes: Changes, *times: str) -> Changes:
    """The same with its transitions received at other times."""
    for transition, time in zip(changes.batch.transitions, times, strict=True):
        transition["received_at"] = time
    return changes


def test_this_month_and_the_next_two_are_there_before_a_row_is(tables: PostgresTables, postgres_url: str) -> None:
    ahead = "SELECT 'transitions_' || to_char(now() AT TIME ZONE 'UTC' + n * interval '1 month', 'YYYY_MM')"

    assert tables.positions() == {}
    assert names(postgres_url) == [
        name for (name,) in rows_of(postgres_url, f"{ahead} FROM generate_series(0, 2) AS n")
    ]


def test_a_row_of_another_month_makes_its_partition(
    tables: PostgresTables, reader: PostgresReader, postgres_url: str
) -> None:
    changes = Stream().fold(*(braze(f"d{number}", "sent") for number in range(4)))
    times = (
        "2031-12-31T23:59:59.999Z",
        "2004-02-29T00:00:00.000Z",
        "2032-01-01T00:00:00.000Z",
        "2004-02-01T00:00:00.000Z",
    )
    tables.write_changes(at(changes, *times))

    assert {"transitions_2004_02", "transitions_2031_12", "transitions_2032_01"} < set(names(postgres_url))
    assert [found["received_at"] for found in reader.transitions_after(0).transitions] == list(times)
    assert rows_of(postgres_url, "SELECT count(*) FROM transitions_2004_02") == [(2,)]
    assert tables.rows_set_aside == 0


@pytest.mark.parametrize("time", ["1999-12-31T23:59:59.999Z", "2100-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"])
def test_a_row_of_no_time_to_be_expected_is_set_aside_and_the_others_kept(
    tables: PostgresTables, postgres_url: str, time: str
) -> None:
    fine = "2020-08-31T18:58:42.000Z"
    tables.write_changes(at(Stream().fold(*(braze(f"d{number}", "sent") for number in range(3))), fine, time, fine))

    assert rows_of(postgres_url, "SELECT seq FROM transitions ORDER BY 1") == [(1,), (3,)]
    ((table, reason),) = rows_of(postgres_url, "SELECT table_name, reason FROM set_aside")
    assert (table, str(reason)[:38]) == (
        "transitions",
        'no partition of relation "transitions"'.replace('"', '\\"')[:38],
    )
    assert time[:10] in str(reason)


def test_numbers_go_on_over_the_turn_of_a_month(tables: PostgresTables, reader: PostgresReader) -> None:
    stream = Stream()
    tables.write_changes(at(stream.fold(braze("d1", "sent")), "2020-08-31T23:59:59.999Z"))
    tables.write_changes(at(stream.fold(braze("d1", "delivered")), "2020-09-01T00:00:00.000Z"))
    (message_id,) = reader.find("d1")
    detail = reader.message(message_id, body_at=lambda _: b"")

    assert [one["status"] for one in reader.transitions_after(0).transitions] == ["sent", "delivered"]
    assert reader.last_transition() == 2
    assert detail is not None
    assert [one["status"] for one in detail["transitions"]] == ["sent", "delivered"]


def test_retention_drops_whole_months_and_nothing_of_the_rest(tables: PostgresTables, postgres_url: str) -> None:
    times = ("2020-07-31T23:59:59.999Z", "2020-08-01T00:00:00.000Z", "2020-09-01T00:00:00.000Z")
    tables.write_changes(at(Stream().fold(*(braze(f"d{number}", "sent") for number in range(3))), *times))

    went = tables.expire(KEEP_ALL._replace(transitions_before="2020-08-31T23:59:59.999Z"))

    assert went == (0, ["transitions_2020_07"])
    assert rows_of(postgres_url, "SELECT seq FROM transitions ORDER BY 1") == [(2,), (3,)]
    assert rows_of(postgres_url, "SELECT count(*) FROM messages") == [(3,)]
    assert rows_of(postgres_url, "SELECT to_regclass('transitions_2020_07')") == [(None,)]


def test_a_reader_in_the_middle_is_waited_for_only_so_long_and_keeps_its_rows(
    tables: PostgresTables, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.tables.postgres_partitions._LONGEST_WAIT", "200ms")
    retention = KEEP_ALL._replace(transitions_before="2021-01-01T00:00:00.000Z")
    stream = Stream()
    tables.write_changes(stream.fold(braze("d1", "sent")))
    with psycopg.connect(postgres_url) as somebody:
        somebody.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        before = somebody.execute("SELECT seq FROM transitions").fetchall()
        during = tables.expire(retention)
        tables.write_changes(stream.fold(braze("d2", "sent")))  # of the very month: no partition can be made yet
        after = somebody.execute("SELECT seq FROM transitions").fetchall()

    assert (before, during, after) == ([(1,)], (0, []), [(1,)])
    assert rows_of(postgres_url, "SELECT table_name FROM set_aside") == [("transitions",)]
    assert tables.expire(retention).partitions == ["transitions_2020_09"]
    tables.write_changes(stream.fold(braze("d3", "sent")))
    assert rows_of(postgres_url, "SELECT count(*) FROM transitions") == [(1,)]


def test_a_number_is_not_given_again_where_the_newest_rows_were_dropped(
    tables: PostgresTables, reader: PostgresReader, postgres_url: str
) -> None:
    stream = Stream()
    tables.write_changes(stream.fold(braze("d1", "sent"), braze("d2", "sent")))
    tables.expire(KEEP_ALL._replace(transitions_before="2021-01-01T00:00:00.000Z"))
    tables.write_changes(stream.fold(braze("d3", "sent")))

    assert rows_of(postgres_url, "SELECT seq FROM transitions") == [(3,)]
    assert len(reader.transitions_after(2).transitions) == 1


def test_a_table_of_somebody_elses_is_not_dropped_for_its_name(tables: PostgresTables, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE transitions_2001_01 (theirs int)")
        dropped = drop_before(connection, "2002-01-01T00:00:00.000Z")

    assert dropped == []
    assert tables.positions() == {}


def test_dead_letters_go_by_the_time_they_were_received(tables: PostgresTables, postgres_url: str) -> None:
    tables.write_changes(
        Stream().fold(braze("d1", "sent")._replace(body=b"{"), braze("d1", "sent")._replace(body=b"["))
    )
    ((first,),) = rows_of(
        postgres_url,
        "SELECT to_char(max(received_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MSZ') FROM dead_letters",
    )

    assert tables.expire(KEEP_ALL) == (0, [])
    assert tables.expire(KEEP_ALL._replace(dead_letters_before=str(first))).dead_letters == 1
    assert rows_of(postgres_url, "SELECT count(*) FROM dead_letters") == [(1,)]
    assert rows_of(postgres_url, "SELECT sum(dead) FROM audit") == [(2,)]


@contextmanager
def reading(url: str) -> Iterator[list[tuple[int, int]]]:
    """Somebody who reads all the time: how many rows, of all and of one message, at each look."""
    seen: list[tuple[int, int]] = []
    failed: list[Exception] = []
    over = threading.Event()

    def look() -> None:
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                while not over.is_set():
                    with connection.transaction():
                        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                        connection.execute("SELECT count(*) FROM messages").fetchone()
                        ((all_rows,),) = connection.execute("SELECT count(*) FROM transitions").fetchall()
                        ((of_one,),) = connection.execute(
                            "SELECT count(*) FROM transitions WHERE message_id = 'm7'"
                        ).fetchall()
                    seen.append((all_rows, of_one))
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(30)
    assert failed == []


def test_a_table_with_rows_gets_its_partitions_while_readers_read(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=ROWS)
    with reading(postgres_url) as seen:
        tables = PostgresTables(postgres_url)
        tables.write_changes(at(Stream().fold(braze("d1", "sent")), "2020-08-31T18:58:42.000Z"))
        tables.close()

    assert set(seen) <= {(ROWS, ROWS // 100), (ROWS + 1, ROWS // 100)}
    assert len(seen) > 1
    assert rows_of(postgres_url, "SELECT max(seq), count(*) FROM transitions") == [(ROWS + 1, ROWS + 1)]
    assert len([name for name in names(postgres_url) if str(name).startswith("transitions_until_")]) == 1
    assert rows_of(postgres_url, "SELECT count(*) FROM pg_constraint WHERE conname = 'transitions_until'") == [(0,)]


def test_a_reader_that_takes_long_holds_nobody_up_but_the_migration(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=100)
    done = threading.Event()

    def upgrade() -> None:
        PostgresTables(postgres_url).close()
        done.set()

    with psycopg.connect(postgres_url) as somebody:
        somebody.execute("SELECT count(*) FROM transitions")
        thread = threading.Thread(target=upgrade)
        thread.start()
        with reading(postgres_url) as seen:
            while len(seen) < 5:
                assert not done.wait(0.05)
    thread.join(30)

    assert done.is_set()
    assert set(seen) == {(100, 1)}


def test_rows_of_an_old_table_go_together_when_the_last_is_old_enough(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=100)
    tables = PostgresTables(postgres_url)
    before = tables.expire(KEEP_ALL._replace(transitions_before="2021-01-01T00:00:00.000Z"))
    ((name,),) = rows_of(
        postgres_url, "SELECT relname FROM pg_class WHERE relname ~ '^transitions_until_\\d{4}_\\d\\d$'"
    )
    went = tables.expire(KEEP_ALL._replace(transitions_before="2099-01-01T00:00:00.000Z"))
    tables.close()

    assert before.partitions == []
    assert name in went.partitions


def test_who_might_read_the_table_may_read_the_one_with_partitions(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=1)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("GRANT SELECT ON transitions TO PUBLIC")
    PostgresTables(postgres_url).close()

    assert rows_of(postgres_url, "SELECT relacl::text FROM pg_class WHERE oid = 'transitions'::regclass")[0][0]
    assert "=r/" in str(rows_of(postgres_url, "SELECT relacl::text FROM pg_class WHERE oid = 'transitions'::regclass"))


def test_a_view_of_somebody_elses_is_named_and_nothing_of_it_is_changed(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=1)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE VIEW theirs AS SELECT seq FROM transitions")

    with pytest.raises(MigrationError, match=r"^0004_analysis.sql: the view theirs of yours reads transitions"):
        PostgresTables(postgres_url)

    assert rows_of(postgres_url, "SELECT * FROM theirs") == [(1,)]
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP VIEW theirs")
    PostgresTables(postgres_url).close()
    assert rows_of(postgres_url, "SELECT count(*) FROM transitions") == [(1,)]


def test_a_time_months_ahead_in_an_old_table_is_set_aside(postgres_url: str) -> None:
    old_tables(postgres_url, migrations=3, rows=3)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE transitions SET received_at = '9999-12-31 00:00:00+00' WHERE seq = 2")
    PostgresTables(postgres_url).close()

    assert rows_of(postgres_url, "SELECT seq FROM transitions ORDER BY 1") == [(1,), (3,)]
    assert rows_of(postgres_url, "SELECT record_id, reason FROM set_aside") == [("t2", "received_at is months ahead")]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM transitions WHERE seq > 29000 ORDER BY seq LIMIT 100",
        "SELECT * FROM transitions WHERE message_id = 'm7' ORDER BY seq LIMIT 100",
        "SELECT max(seq) FROM transitions",
    ],
)
def test_reading_by_number_and_by_message_takes_the_indexes_of_every_month(postgres_url: str, query: str) -> None:
    old_tables(postgres_url, migrations=4)
    months = "SELECT sendtrace_make_month('2020-01-01Z'::timestamptz + n * interval '1 month')"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"{months} FROM generate_series(0, 21) AS n")
        fill_transitions(connection, ROWS)
        connection.execute("ANALYZE transitions")

    plan = str(rows_of(postgres_url, f"EXPLAIN {query}"))

    assert plan.count("Index") >= 20
    assert "Sort  (cost" not in plan  # rows come in their order out of every index
