"""Rows a second through the Parquet sink, from SQLite and from Postgres, beside pyarrow alone writing the same rows.

`rows` is given what a database's client hands out, a tuple of Python values a row, in memory, and makes columns and
files of it; `arrow` is given finished Arrow tables and only writes them. Neither reads a database, splits by day and
source, syncs, names or notes anything. All write the same columns, compression and row groups, and every file is
read back for its number of rows. CPU seconds are those of this process: of Postgres' own the sink uses some besides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.parquet.datasets import LAYOUTS, TRANSITIONS, Kind
from sinks.parquet.files import ROWS_PER_GROUP
from sinks.parquet.postgres_source import PostgresRows
from sinks.parquet.rolls import Limits, Rolls
from sinks.parquet.root import open_root
from sinks.parquet.rows import Rows
from sinks.parquet.sqlite_source import SqliteRows
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_sink import SqliteSink
from tests.bench import postgres_rows
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.processes import BenchError

_POSTBACKS: Final = 200_000
_LAYOUT: Final = LAYOUTS[TRANSITIONS.name]
_LIMITS: Final = Limits(bytes=2**40, rows=2**40)


class Taken(NamedTuple):
    """Of one side in one round."""

    wall_s: float
    cpu_s: float


def run(plan: Plan) -> Result:
    """All sides in turn, each round. Raises `BenchError`."""
    changes = list(postgres_rows._changes(round(_POSTBACKS * plan.scale)))
    path = plan.directory / "tables.db"
    with postgres_rows._server() as running:
        url = postgres_rows._database(running, "parquet")
        with closing(SqliteSink(path)) as sqlite, closing(PostgresTables(url)) as postgres:
            for one in changes:
                sqlite.write_changes(one)
                postgres.write_changes(one)
        del changes
        with closing(SqliteRows(path)) as from_sqlite, closing(PostgresRows(url)) as from_postgres:
            tables = list(from_sqlite.transitions(0, to=None, limit=2**40))
            rows = [list(_python_rows(table)) for table in tables]
            count = sum(table.num_rows for table in tables)
            sides: dict[str, Callable[[Path], None]] = {
                "sqlite": lambda directory: _sink(from_sqlite, directory),
                "postgres": lambda directory: _sink(from_postgres, directory),
                "rows": lambda directory: _write(map(_table, rows), directory),
                "arrow": lambda directory: _write(tables, directory),
            }
            taken = _rounds(plan, sides, count)
    return {"rows": count, **_result(count, taken)}


def _rounds(plan: Plan, sides: dict[str, Callable[[Path], None]], count: int) -> dict[str, list[Taken]]:
    taken: dict[str, list[Taken]] = {name: [] for name in sides}
    for number in range(plan.rounds):
        for name, write in sides.items():
            directory = plan.directory / f"{name}-{number}"
            directory.mkdir()
            with _timed(taken[name]):
                write(directory)
            written = sum(pq.ParquetFile(path).metadata.num_rows for path in directory.rglob("*.parquet"))
            if written != count:
                raise BenchError(f"{name} wrote {written} rows, expected {count}")
        told = ", ".join(f"{name} {count / rounds[-1].wall_s:,.0f}" for name, rounds in taken.items())
        plan.say(f"round {number + 1}: rows/s: {told}")
    return taken


def _result(count: int, taken: dict[str, list[Taken]]) -> Result:
    found: Result = {
        name: {
            "rows_per_s": median(count / one.wall_s for one in rounds),
            "rows_per_s_spread": spread(count / one.wall_s for one in rounds),
            "rows_per_cpu_s": median(count / one.cpu_s for one in rounds),
        }
        for name, rounds in taken.items()
    }
    for ours in ("sqlite", "postgres"):
        for other in ("rows", "arrow"):
            pairs = list(zip(taken[ours], taken[other], strict=True))
            found[f"{ours}_to_{other}"] = median(theirs.wall_s / mine.wall_s for mine, theirs in pairs)
            found[f"{ours}_to_{other}_of_cpu"] = median(theirs.cpu_s / mine.cpu_s for mine, theirs in pairs)
    return found


def _sink(rows: Rows, directory: Path) -> None:
    root = open_root(str(directory))
    with root.temporary("making") as temporary:
        Rolls(root, rows, _LIMITS, temporary).roll(0)


def _write(tables: Iterator[pa.Table] | Sequence[pa.Table], directory: Path) -> None:
    """As `sinks.parquet.files` has it, but for everything around."""
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(
        directory / "rows.parquet", _LAYOUT.file, compression="zstd", compression_level=1, use_dictionary=_LAYOUT.words
    ) as writer:
        for table in tables:
            waiting.append(table.select(_LAYOUT.file.names))
            if sum(one.num_rows for one in waiting) >= ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


def _python_rows(table: pa.Table) -> Iterator[tuple[object, ...]]:
    """As sqlite3 hands them out: times as texts."""
    columns = [
        column.cast(pa.string()).to_pylist() if kind is Kind.TIME else column.to_pylist()
        for column, kind in zip(table.columns, TRANSITIONS.columns.values(), strict=True)
    ]
    return zip(*columns, strict=True)


def _table(rows: list[tuple[object, ...]]) -> pa.Table:
    """The shortest way from such rows to columns of the right types."""
    columns = [
        pa.array(values, pa.string()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(values, field.type)
        for values, field in zip(zip(*rows, strict=True), _LAYOUT.read, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=_LAYOUT.read)


@contextmanager
def _timed(taken: list[Taken]) -> Iterator[None]:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    yield
    taken.append(Taken(time.perf_counter() - began_s, time.process_time() - began_cpu_s))
