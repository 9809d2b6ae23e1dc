"""The continuous sink: each transition in one file, wherever it was interrupted; files are closed for good."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sendtrace.parquet_export import export, whole_hours
from sinks.parquet.datasets import TRANSITIONS
from sinks.parquet.postgres_source import PostgresRows
from sinks.parquet.rolls import NOTE, Limits, Rolls
from sinks.parquet.root import Root, open_root
from sinks.parquet.rows import Rows
from sinks.parquet.sink import ParquetSink
from sinks.parquet.sqlite_source import SqliteRows
from sinks.parquet.trouble import ParquetError
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import (
    LIMITS,
    crashing,
    export_all,
    files_of,
    in_files,
    in_postgres,
    in_sqlite,
    of_some_days,
    roll_all,
    some_rows,
)
from tests.integration.read_rig import MIDNIGHT_MS, SystemClock
from tests.postgres.changes_rig import Stream

_RANGE: Final = re.compile(r"part-(\d+)-(\d+)\.parquet$")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "tables.db"
    with closing(SqliteSink(made)) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    return made


@pytest.fixture
def rows(path: Path) -> Iterator[Rows]:
    with closing(SqliteRows(path)) as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(str(tmp_path / "parquet"))


def directory(root: Root) -> Path:
    assert root.local is not None
    return root.local


def ranges(root: Root) -> list[tuple[int, int]]:
    """First and last `seq` of every roll, in order."""
    found = (_RANGE.search(name) for name in root.parquet_files(TRANSITIONS.name))
    return sorted({(int(one[1]), int(one[2])) for one in found if one is not None})


@pytest.mark.parametrize("most_rows", [1_000_000, 50, 7])
def test_every_row_is_in_one_file_and_the_names_say_which(rows: Rows, path: Path, root: Root, most_rows: int) -> None:
    rolls = roll_all(rows, root, Limits(LIMITS.bytes, most_rows))

    last = rows.last_transition()
    assert in_files(directory(root), "transitions") == in_sqlite(path, "transitions")
    assert ranges(root) == [(first, min(first + most_rows - 1, last)) for first in range(1, last + 1, most_rows)]
    assert rolls.written.rows == last
    for name in root.parquet_files():
        found = _RANGE.search(name)
        assert found is not None
        first, to = map(int, found.groups())
        assert all(
            first <= seq <= to for seq in pq.read_table(directory(root) / name, columns=["seq"])["seq"].to_pylist()
        )


def test_it_reads_postgres_too(postgres_url: str, root: Root) -> None:
    with closing(PostgresTables(postgres_url)) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    with closing(PostgresRows(postgres_url)) as rows:
        roll_all(rows, root, Limits(LIMITS.bytes, 50))

    assert in_files(directory(root), "transitions") == in_postgres(postgres_url, "transitions")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_it_works_through_trouble_and_writes_the_small_tables_too(
    database: str, path: Path, postgres_url: str, root: Root, tmp_path: Path
) -> None:
    """At first the place cannot be had, as when S3 is away."""
    with closing(PostgresTables(postgres_url)) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    places: Iterator[Root | ParquetError] = iter([ParquetError("away"), root, root])
    sink = ParquetSink(
        root=lambda: _had(next(places)),
        rows=SqliteRows(path) if database == "sqlite" else PostgresRows(postgres_url),
        clock=SystemClock(),
        roll_ms=1_000,
        limits=LIMITS,
        spool=tmp_path / "spool",
    )
    thread = threading.Thread(target=sink.run)
    thread.start()
    told: set[str | None] = set()
    deadline_s = time.monotonic() + 30
    while not sink.state.caught_up and time.monotonic() < deadline_s:
        told.add(sink.state.trouble)
        time.sleep(0.01)
    sink.stop()
    thread.join()

    assert (sink.state.caught_up, sink.state.trouble, sink.state.waiting_rows) == (True, None, 0)
    assert "away" in told
    for name in ("transitions", "dead_letters"):
        expected = in_sqlite(path, name) if database == "sqlite" else in_postgres(postgres_url, name)
        assert in_files(directory(root), name) == expected


def _had(place: Root | ParquetError) -> Root:
    if isinstance(place, ParquetError):
        raise place
    return place


def test_rows_that_come_later_go_into_files_of_their_own(tmp_path: Path, root: Root) -> None:
    stream, path = Stream(), tmp_path / "tables.db"
    with closing(SqliteSink(path)) as writer, closing(SqliteRows(path)) as rows:
        writer.write_changes(stream.fold_again(some_rows(stream, 10)))
        roll_all(rows, root)
        before = files_of(directory(root))
        late = [one._replace(received_ms=MIDNIGHT_MS - 1) for one in some_rows(stream, 3, first=10)]
        writer.write_changes(stream.fold_again(late))
        roll_all(rows, root)

    after = files_of(directory(root))
    assert {name: after[name] for name in before} == before
    assert [name.split("/")[1] for name in after.keys() - before.keys()] == ["day=2020-08-31"]
    assert ranges(root) == [(1, 10), (11, 13)]


def test_a_file_of_many_bytes_ends_its_roll(tmp_path: Path, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, path = Stream(), tmp_path / "tables.db"
    with closing(SqliteSink(path)) as writer:
        writer.write_changes(stream.fold_again(some_rows(stream, 300)))
    for module in ("sqlite_source.PIECE_ROWS", "sqlite_source._ROWS_PER_FETCH", "files.ROWS_PER_GROUP"):
        monkeypatch.setattr(f"sinks.parquet.{module}", 50)
    with closing(SqliteRows(path)) as rows:
        roll_all(rows, root, Limits(bytes=5_000, rows=1_000))

    assert len(ranges(root)) >= 2
    assert in_files(directory(root), "transitions") == in_sqlite(path, "transitions")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(20, 150)), min_size=1, max_size=5))
def test_killed_before_any_name_and_started_again_each_row_is_there_once(
    rows: Rows, path: Path, tmp_path_factory: pytest.TempPathFactory, kills: list[tuple[int, int]]
) -> None:
    """Each time with other limits: as when there are more rows by then, where a roll would end elsewhere."""
    root = open_root(str(tmp_path_factory.mktemp("parquet")))
    names: dict[str, bytes] = {}
    for names_given, most_rows in kills:
        with crashing(root, names_given), suppress(KeyboardInterrupt):
            roll_all(rows, root, Limits(LIMITS.bytes, most_rows))
        now = files_of(directory(root))
        assert names.items() <= now.items()  # what has its name is there for good
        names = now
    roll_all(rows, root)

    assert in_files(directory(root), "transitions") == in_sqlite(path, "transitions")


@pytest.mark.parametrize("lost_after", [0, 2, 3, 9])
def test_without_its_note_it_goes_on_from_the_names(rows: Rows, path: Path, root: Root, lost_after: int) -> None:
    with crashing(root, lost_after):
        try:
            roll_all(rows, root, Limits(LIMITS.bytes, 60))
        except KeyboardInterrupt:
            (directory(root) / NOTE).unlink(missing_ok=True)
    roll_all(rows, root, Limits(LIMITS.bytes, 60))

    assert in_files(directory(root), "transitions") == in_sqlite(path, "transitions")


def test_what_a_kill_left_of_unfinished_files_is_removed(rows: Rows, root: Root) -> None:
    left = directory(root) / "_sendtrace" / "making" / "000000.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1 half a file")

    roll_all(rows, root)

    assert list(directory(root).rglob("*.tmp")) == []


def test_other_tables_than_before_are_refused(rows: Rows, root: Root, tmp_path: Path) -> None:
    roll_all(rows, root)
    with closing(SqliteSink(tmp_path / "new.db")) as writer:
        writer.write_changes(Stream().fold_again(some_rows(Stream(), 3)))
    with closing(SqliteRows(tmp_path / "new.db")) as new, pytest.raises(ParquetError, match="the tables only to 3"):
        roll_all(new, root)


def test_a_place_of_exports_is_refused(rows: Rows, root: Root) -> None:
    export_all(rows, root)

    with pytest.raises(ParquetError, match="has Parquet files of an export"):
        roll_all(rows, root)


def test_an_export_of_transitions_to_a_place_of_the_sink_is_refused(rows: Rows, root: Root) -> None:
    roll_all(rows, root)
    span = whole_hours(0, MIDNIGHT_MS)

    with pytest.raises(ParquetError, match="keeps transitions there already"):
        export(root, rows, span, ["transitions"], bodies=False, progress=lambda _done: None)
    assert export(root, rows, span, ["messages"], bodies=False, progress=lambda _done: None).keys() == {"messages"}


def test_rows_that_the_tables_let_go_are_no_trouble(rows: Rows, path: Path, root: Root) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM transition_log WHERE seq < 100")
    roll_all(rows, root, Limits(LIMITS.bytes, 60))

    assert in_files(directory(root), "transitions") == in_sqlite(path, "transitions")


def test_a_second_one_is_kept_away(root: Root, tmp_path: Path) -> None:
    with root.lock("sink", wait=False):
        with pytest.raises(ParquetError, match="another sendtrace writes there"), root.lock("sink", wait=False):
            pass
        with open_root(str(tmp_path / "elsewhere")).lock("sink", wait=False):
            pass


def test_somebody_who_wrote_there_meanwhile_is_noticed(rows: Rows, root: Root) -> None:
    with root.temporary("making") as temporary:
        rolls = Rolls(root, rows, Limits(LIMITS.bytes, 50), temporary)
        rolls.roll(0)
        roll_all(rows, open_root(root.url), Limits(LIMITS.bytes, 60))
        (temporary).mkdir(exist_ok=True)

        with pytest.raises(ParquetError, match="another sendtrace writes there"):
            rolls.roll(0)
