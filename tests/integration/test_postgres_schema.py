"""Who may write the Postgres tables, and how their schema is made and judged."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from sinks.tables.migrations import MigrationError
from sinks.tables.postgres_writer import AlreadyWritingError, PositionsMovedError, PostgresTables
from tests.integration.read_rig import braze
from tests.postgres.changes_rig import Stream
from tests.postgres.tables_rig import rows_of, tables

__all__ = ["tables"]


def run(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement)


def test_a_second_writer_is_refused_while_the_first_lives(tables: PostgresTables, postgres_url: str) -> None:
    with pytest.raises(AlreadyWritingError, match="another sink writes these tables"):
        PostgresTables(postgres_url, wait=False)

    tables.close()

    PostgresTables(postgres_url).close()  # it waits: the server gives the lock back a moment after the connection


def test_a_second_writer_that_waits_goes_on_where_the_first_stopped(tables: PostgresTables, postgres_url: str) -> None:
    found: list[dict[tuple[str, int], int]] = []

    def second() -> None:
        writer = PostgresTables(postgres_url)
        found.append(writer.positions())
        writer.close()

    thread = threading.Thread(target=second)
    thread.start()
    asked = "SELECT FROM pg_stat_activity WHERE query LIKE '%try_advisory%' AND state = 'idle'"
    while not rows_of(postgres_url, f"{asked} AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"):  # noqa: S608  texts of ours
        time.sleep(0.02)
    changes = Stream().fold(braze("d1", "sent"))
    tables.write_changes(changes)
    tables.close()
    thread.join(10)

    assert found == [changes.positions]


def test_tables_in_two_schemas_of_one_database_have_a_writer_each(tables: PostgresTables, postgres_url: str) -> None:
    run(postgres_url, "CREATE SCHEMA other")
    other = PostgresTables(f"{postgres_url} options='-c search_path=other'", wait=False)
    other.write_changes(Stream().fold(braze("d1", "sent")))
    other.close()

    assert (rows_of(postgres_url, "SELECT count(*) FROM messages"), tables.positions()) == ([(0,)], {})
    assert rows_of(postgres_url, "SELECT count(*) FROM other.messages") == [(1,)]


def test_a_writer_that_was_cut_off_writes_on_with_a_new_session(tables: PostgresTables, postgres_url: str) -> None:
    changes = Stream().fold(braze("d1", "sent"))
    cut_off(postgres_url)

    with pytest.raises(psycopg.OperationalError):
        tables.write_changes(changes)
    tables.write_changes(changes)

    assert tables.positions() == changes.positions


def test_a_writer_that_was_cut_off_does_not_write_over_the_one_that_took_over(
    tables: PostgresTables, postgres_url: str
) -> None:
    stream = Stream()
    first, second = stream.fold(braze("d1", "sent")), stream.fold(braze("d2", "sent"))
    cut_off(postgres_url)
    taken_over = PostgresTables(postgres_url, wait=False)
    taken_over.write_changes(first)
    with pytest.raises(psycopg.OperationalError):
        tables.write_changes(first)
    with pytest.raises(AlreadyWritingError):
        tables.write_changes(first)
    taken_over.close()

    with pytest.raises(PositionsMovedError):
        tables.write_changes(second)

    assert tables.positions() == first.positions
    tables.write_changes(second)
    assert rows_of(postgres_url, "SELECT count(*) FROM transitions") == [(2,)]


def cut_off(url: str) -> None:
    """End the writer's session, as a firewall would."""
    run(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")


def test_a_schema_of_a_newer_release_is_refused_in_one_line(tables: PostgresTables, postgres_url: str) -> None:
    tables.close()
    run(postgres_url, "INSERT INTO sendtrace_migrations VALUES (9999, '9999_later.sql', '')")

    with pytest.raises(MigrationError, match=r"^the tables are at migration 9999, .* another database$"):
        PostgresTables(postgres_url)


def test_an_edited_migration_is_refused(tables: PostgresTables, postgres_url: str) -> None:
    tables.close()
    run(postgres_url, "UPDATE sendtrace_migrations SET digest = 'x'")

    with pytest.raises(MigrationError, match=r"^0001_tables.sql is not the file that made these tables"):
        PostgresTables(postgres_url)


def test_a_server_that_is_too_old_is_told_in_one_line(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.tables.postgres_schema._OLDEST_SERVER", 990_000)

    with pytest.raises(MigrationError, match=r"^the server is Postgres \d+: the tables need 99 or newer$"):
        PostgresTables(postgres_url)


def test_tables_of_somebody_else_are_left_alone(postgres_url: str) -> None:
    run(postgres_url, "CREATE TABLE postbacks (theirs int)")

    with pytest.raises(MigrationError, match=r'^0001_tables.sql: relation "postbacks" already exists; give the tables'):
        PostgresTables(postgres_url)

    assert rows_of(postgres_url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [
        ("postbacks",)
    ]


def test_a_server_that_is_away_is_an_operational_error_in_one_line(tmp_path: object) -> None:
    with pytest.raises(psycopg.OperationalError, match="No such file") as caught:
        PostgresTables(f"host={tmp_path} user=me password=hunter2")

    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_address_that_is_none_is_told_without_it() -> None:
    with pytest.raises(psycopg.OperationalError, match=r"^the address of the database is neither a postgresql:// URL"):
        PostgresTables("hunter2")
