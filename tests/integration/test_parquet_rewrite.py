"""Rows taken out of files that are there: only what has them is written anew, whole or not at all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sinks.parquet.rewrite import Rewritten, rewrite
from sinks.parquet.root import Root, open_root
from sinks.parquet.sqlite_source import SqliteRows
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import asked, crashing, export_all, files_of, of_some_days, roll_all
from tests.postgres.changes_rig import Stream

_TEXT = "(NULL)"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Both layouts at one place each; a reason of the rig in one file of transitions and of messages."""
    with closing(SqliteSink(tmp_path / "tables.db")) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    made = open_root(str(tmp_path / "parquet"))
    with closing(SqliteRows(tmp_path / "tables.db")) as rows:
        export_all(rows, made)
        roll_all(rows, open_root(str(tmp_path / "rolled")))
    return made


def without(table: pa.Table) -> pa.Table:
    """Rows whose reason is not the text; the very table where all are."""
    if "reason" not in table.column_names or not pc.any(pc.equal(table["reason"], _TEXT)).as_py():
        return table
    return table.filter(pc.not_equal(pc.fill_null(table["reason"], ""), _TEXT))


def count(directory: Path, dataset: str, where: str = "true") -> object:
    return asked(directory, f"SELECT count(*) FROM '{dataset}/**/*.parquet' WHERE {where}")[0][0]  # noqa: S608  ours


def test_only_files_with_the_text_are_written_anew_and_nothing_else_is_lost(root: Root) -> None:
    assert root.local is not None
    before = files_of(root.local)
    rows = {name: count(root.local, name) for name in ("transitions", "messages", "dead_letters")}

    done = rewrite(root, without)

    after = files_of(root.local)
    assert (done.read, done.rewritten, done.removed) == (len(before), 2, 0)
    assert sum(before[name] != after[name] for name in before) == 2
    assert count(root.local, "transitions", f"reason = '{_TEXT}'") == 0
    assert count(root.local, "transitions") == int(str(rows["transitions"])) - 1
    assert count(root.local, "dead_letters") == rows["dead_letters"]
    assert all(b"sendtrace.dataset" in data for data in after.values())


def test_a_file_of_which_nothing_is_left_goes(root: Root) -> None:
    assert rewrite(root, lambda _table: None).removed > 0
    assert root.parquet_files() == []


def test_killed_in_the_middle_it_is_finished_by_the_next(root: Root) -> None:
    with crashing(root, 1), pytest.raises(KeyboardInterrupt):
        rewrite(root, without)

    assert rewrite(root, without).rewritten == 1
    assert rewrite(root, without) == Rewritten(read=len(root.parquet_files()))


def test_the_sink_goes_on_behind_what_was_rewritten(root: Root, tmp_path: Path) -> None:
    rolled = open_root(str(tmp_path / "rolled"))
    before = int(str(count(tmp_path / "rolled", "transitions")))

    rewrite(rolled, without)
    with closing(SqliteRows(tmp_path / "tables.db")) as rows:
        roll_all(rows, rolled)

    assert root.local is not None
    assert count(tmp_path / "rolled", "transitions") == before - 1
