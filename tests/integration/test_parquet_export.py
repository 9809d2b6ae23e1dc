"""An export: DuckDB finds in the files what the tables have, row for row, however often and with what overlap."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sinks.parquet.datasets import DATASETS, LAYOUTS, MESSAGES, TRANSITIONS
from sinks.parquet.hours import HourFiles, Outcome
from sinks.parquet.postgres_source import PostgresRows
from sinks.parquet.root import Root, open_root
from sinks.parquet.rows import Rows
from sinks.parquet.sqlite_source import SqliteRows
from sinks.tables.asking import asking_postgres
from sinks.tables.changes import Changes
from sinks.tables.postgres_connect import connect
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import (
    ALWAYS,
    ODD_REASONS,
    Row,
    asked,
    crashing,
    export_all,
    files_of,
    in_files,
    in_postgres,
    in_sqlite,
    of_some_days,
)
from tests.postgres.changes_rig import Stream
from tests.postgres.incident_rows_rig import incident, put, put_in_sqlite, sample
from tests.postgres.tables_rig import Both, both

__all__ = ["both"]  # a fixture

INCIDENTS = (
    incident("a"),
    incident("b", source=None, total=None, samples=[], title='"quoted",\nand more'),
    incident("c", samples=[sample(message_id=None, reason=None), sample()]),
)


class Filled(NamedTuple):
    """Databases with the same rows, and where each is."""

    sqlite: Path
    postgres: str = ""

    def rows(self, database: str) -> Rows:
        return SqliteRows(self.sqlite) if database == "sqlite" else PostgresRows(self.postgres)

    def table(self, database: str, name: str) -> list[Row]:
        return in_sqlite(self.sqlite, name) if database == "sqlite" else in_postgres(self.postgres, name)


def all_changes() -> list[Changes]:
    stream, postbacks = Stream(), of_some_days()
    return [stream.fold_again(postbacks[start : start + 100]) for start in range(0, len(postbacks), 100)]


@pytest.fixture
def filled(both: Both, tmp_path: Path, postgres_url: str) -> Filled:
    both.write(*all_changes())
    put_in_sqlite(tmp_path / "tables.db", *INCIDENTS)
    with closing(connect(postgres_url)) as db:
        put(asking_postgres(db), *INCIDENTS)
    return Filled(tmp_path / "tables.db", postgres_url)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables.db"
    with closing(SqliteSink(path)) as writer:
        for changes in all_changes():
            writer.write_changes(changes)
    put_in_sqlite(path, *INCIDENTS)
    return path


@pytest.fixture
def rows(tables: Path) -> Iterator[Rows]:
    with closing(SqliteRows(tables)) as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(str(tmp_path / "parquet"))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_duckdb_finds_what_the_tables_have_row_for_row(filled: Filled, root: Root, database: str) -> None:
    with closing(filled.rows(database)) as rows:
        export_all(rows, root)

    assert root.local is not None
    for name in DATASETS:
        expected = filled.table(database, name)
        assert len(expected) >= 3
        assert in_files(root.local, name) == expected, name


def test_texts_come_out_as_they_went_in(rows: Rows, root: Root, tmp_path: Path) -> None:
    export_all(rows, root)

    query = "SELECT reason FROM 'parquet/transitions/**/*.parquet' WHERE dispatch_id LIKE 'odd%' ORDER BY seq"
    assert [reason for (reason,) in asked(tmp_path, query)] == [reason or None for reason in ODD_REASONS]


def test_a_text_with_nul_comes_out_of_sqlite(tables: Path, rows: Rows, root: Root, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tables)) as db, db:
        db.execute("UPDATE transition_log SET reason = ? WHERE seq = 1", ("a\0b",))
    export_all(rows, root)

    assert asked(tmp_path, "SELECT reason FROM 'parquet/transitions/**/*.parquet' WHERE seq = 1") == [("a\0b",)]


def test_a_row_lies_in_its_day_and_source(rows: Rows, root: Root, tmp_path: Path) -> None:
    export_all(rows, root)

    astray = (
        "SELECT count(*), count(DISTINCT day) FROM read_parquet('parquet/transitions/**/*.parquet', "
        "hive_partitioning = true, filename = true) WHERE strftime(received_at, '%Y-%m-%d') <> day::text "
        "OR NOT contains(filename, format('hour-{:02d}.', hour(received_at)))"
    )
    assert asked(tmp_path, astray)[0][0] == 0
    assert {path.split("/")[2] for path in root.parquet_files("transitions")} == {"source=braze", "source=nrs"}


def test_every_file_of_a_dataset_has_the_same_schema_and_says_what_it_is(rows: Rows, root: Root) -> None:
    export_all(rows, root)

    for name in root.parquet_files():
        dataset = name.split("/")[0]
        assert root.local is not None
        found = pq.ParquetFile(root.local / name).schema_arrow
        assert found.equals(LAYOUTS[dataset].file, check_metadata=True)
        assert found.metadata[b"sendtrace.dataset"] == dataset.encode()
        if dataset != "incidents":
            assert "source" not in found.names
    assert LAYOUTS["transitions"].file.field("received_at").type == pa.timestamp("ms", tz="UTC")


def test_the_same_again_changes_no_byte(rows: Rows, root: Root) -> None:
    assert root.local is not None
    first = export_all(rows, root)
    before = files_of(root.local)

    again = export_all(rows, root)

    assert (first.same, first.written) == (0, len(before))
    assert (again.same, again.written) == (len(before), 0)
    assert files_of(root.local) == before


def test_a_message_that_changed_is_exported_with_the_hour_it_began_in(rows: Rows) -> None:
    since = "2020-09-02T01:00:00.000Z"

    assert min(hour.at for hour in rows.hours(TRANSITIONS, since, ALWAYS[1])) == "2020-09-02T01"
    assert min(hour.at for hour in rows.hours(MESSAGES, since, ALWAYS[1])) < "2020-09-02T01"


def test_a_file_with_more_rows_than_the_tables_is_left_alone(tables: Path, rows: Rows, root: Root) -> None:
    assert root.local is not None
    export_all(rows, root)
    before = files_of(root.local)
    with closing(sqlite3.connect(tables)) as db, db:
        db.execute("DELETE FROM transition_log WHERE seq % 2 = 1")

    after = export_all(rows, root)

    assert after.left_alone > 1
    assert files_of(root.local) == before


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_bodies_come_only_when_asked_for(filled: Filled, root: Root, tmp_path: Path, database: str) -> None:
    bodies = "SELECT count(body), count(*) FROM 'parquet/dead_letters/**/*.parquet'"
    with closing(filled.rows(database)) as rows:
        export_all(rows, root)
        without = asked(tmp_path, bodies)[0]
        export_all(rows, root, bodies=True)

    assert without[0] == 0
    assert asked(tmp_path, bodies) == [(without[1], without[1])]
    query = "SELECT body FROM 'parquet/dead_letters/**/*.parquet' WHERE body = 'nobody reads this'::blob"
    assert asked(tmp_path, query) == [(b"nobody reads this",)]


@pytest.mark.parametrize("names", range(0, 12, 3))
def test_an_export_that_was_killed_leaves_whole_files_and_is_mended_by_the_next(
    tables: Path, rows: Rows, root: Root, names: int
) -> None:
    assert root.local is not None
    with crashing(root, names), pytest.raises(KeyboardInterrupt):
        export_all(rows, root)

    assert len(files_of(root.local)) == names
    export_all(rows, root)
    assert in_files(root.local, "transitions") == in_sqlite(tables, "transitions")


def test_hours_outside_the_range_are_left_out(rows: Rows, root: Root) -> None:
    outcome = Outcome()
    with root.temporary("exporting") as temporary:
        files = HourFiles(root, rows, temporary)
        for hour in rows.hours(TRANSITIONS, "2020-09-02T00:00:00.000Z", "2020-09-02T02:00:00.000Z"):
            files.export(TRANSITIONS, hour, outcome)

    found = {(path.split("/")[1], path.split("/")[3]) for path in root.parquet_files()}
    assert found == {("day=2020-09-02", "hour-00.parquet"), ("day=2020-09-02", "hour-01.parquet")}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_tables_that_are_not_there_yet_have_no_rows(tmp_path: Path, postgres_url: str, database: str) -> None:
    rows: Rows = SqliteRows(tmp_path / "none.db") if database == "sqlite" else PostgresRows(postgres_url)
    with closing(rows):
        assert rows.last_transition() == 0
        assert list(rows.transitions(0, to=None, limit=10)) == []
        assert export_all(rows, open_root(str(tmp_path / "out"))) == Outcome()
