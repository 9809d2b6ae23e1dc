"""A fixture of the tables on Kafka in both databases, for tests that hold them to each other (import it by name)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from sinks.tables.changes import Changes
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink


class Both(NamedTuple):
    """Tables in SQLite and in Postgres that were given the same."""

    sqlite: SqliteReader
    postgres: PostgresReader
    writers: tuple[SqliteSink, PostgresTables]

    def write(self, *all_changes: Changes) -> None:
        """Give them to both."""
        for changes in all_changes:
            for writer in self.writers:
                writer.write_changes(changes)


@pytest.fixture
def both(tmp_path: Path, postgres_url: str) -> Iterator[Both]:
    """Empty tables."""
    found = Both(
        SqliteReader(tmp_path / "tables.db"),
        PostgresReader(postgres_url),
        (SqliteSink(tmp_path / "tables.db"), PostgresTables(postgres_url)),
    )
    yield found
    for one in (found.sqlite, found.postgres, *found.writers):
        one.close()


@pytest.fixture
def tables(postgres_url: str) -> Iterator[PostgresTables]:
    """A writer of a new database."""
    made = PostgresTables(postgres_url)
    yield made
    made.close()


@pytest.fixture
def reader(postgres_url: str) -> Iterator[PostgresReader]:
    """A reader of the same database."""
    made = PostgresReader(postgres_url)
    yield made
    made.close()


def rows_of(url: str, query: str) -> list[tuple[object, ...]]:
    """What a query of an analyst answers."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


TABLES = ("messages", "transitions", "postbacks", "identifiers", "dead_letters", "audit", "positions", "set_aside")


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables in a fixed order, for two databases or two moments to be compared."""
    times = {
        "dead_letters": "row_to_json(t)::jsonb - 'retried_at'",
        "set_aside": "row_to_json(t)::jsonb - 'set_aside_at'",
    }
    return {
        name: rows_of(url, f"SELECT {times.get(name, 't')}::text FROM {name} AS t ORDER BY 1")  # noqa: S608  names of ours
        for name in TABLES
    }
