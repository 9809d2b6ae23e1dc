"""The benchmark of the Postgres tables at a tiny size: that it runs to its end; no figure is looked at."""

from __future__ import annotations

from pathlib import Path

from tests.bench import postgres_rows
from tests.bench.measured import Plan
from tests.postgres.postgres_rig import Postgres


def test_it_holds_the_writer_to_a_bare_copy_of_the_same_rows(tmp_path: Path, postgres: Postgres) -> None:
    plan = Plan(name="postgres", directory=tmp_path, seconds=0.3, rounds=1, scale=0.02)

    result = postgres_rows.run(plan)

    assert postgres.url, "where no server can be had, this is skipped like the others"
    assert result.keys() >= {"sink", "bare", "text", "to_bare", "to_text", "to_bare_of_cpu", "to_text_of_cpu"}
    assert result["transactions"] == 1
