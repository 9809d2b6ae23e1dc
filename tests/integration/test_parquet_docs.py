"""Every query of docs/parquet.md, run by DuckDB on what an export wrote; and its tables of columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from sinks.parquet.datasets import LAYOUTS
from sinks.parquet.root import open_root
from sinks.parquet.sqlite_source import SqliteRows
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import export_all, of_some_days
from tests.postgres.changes_rig import Stream
from tests.postgres.incident_rows_rig import incident, put_in_sqlite
from tests.unit.project_tree import ROOT

PAGE = (ROOT / "docs/parquet.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
NAMES = [block for block in BLOCKS if block.startswith("CREATE")]
QUERIES = [block for block in BLOCKS if not block.startswith("CREATE")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    directory = tmp_path_factory.mktemp("docs")
    with closing(SqliteSink(directory / "tables.db")) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    put_in_sqlite(directory / "tables.db", incident())
    with closing(SqliteRows(directory / "tables.db")) as rows:
        export_all(rows, open_root(str(directory / "parquet")))
    with closing(duckdb.connect()) as db:
        db.execute(f"SET file_search_path = '{directory}'")
        for block in NAMES:
            db.execute(block)
        yield db


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: " ".join(query.split())[:40])
def test_a_query_of_the_page_finds_something(exported: duckdb.DuckDBPyConnection, query: str) -> None:
    assert exported.execute(query).fetchall()


def test_there_are_queries() -> None:
    assert len(NAMES) == 2
    assert len(QUERIES) >= 8


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_page_lists_the_columns_of_the_files(name: str) -> None:
    assert f"| `{name}` | {', '.join(LAYOUTS[name].file.names)} |\n" in PAGE


def test_rates_are_those_of_the_tables(exported: duckdb.DuckDBPyConnection) -> None:
    rates = next(query for query in QUERIES if "delivered_percent" in query)

    found = exported.execute(f"SELECT sum(messages), sum(delivered) FROM ({rates.rstrip().rstrip(';')})").fetchone()  # noqa: S608  ours

    assert (
        found == exported.execute("SELECT count(*), count(*) FILTER (outcome = 'delivered') FROM messages").fetchone()
    )
