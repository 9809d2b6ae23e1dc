"""The benchmark of the Parquet sink at a tiny size: that it runs to its end; no figure is looked at."""

from __future__ import annotations

from pathlib import Path

from tests.bench import parquet_rows
from tests.bench.measured import Plan
from tests.postgres.postgres_rig import Postgres


def test_it_holds_the_sink_to_pyarrow_writing_the_same_rows(tmp_path: Path, postgres: Postgres) -> None:
    plan = Plan(name="parquet", directory=tmp_path, seconds=0.3, rounds=1, scale=0.01)

    result = parquet_rows.run(plan)

    assert postgres.url, "where no server can be had, this is skipped like the others"
    assert result.keys() >= {"sqlite", "postgres", "rows", "arrow", "sqlite_to_rows", "postgres_to_arrow_of_cpu"}
