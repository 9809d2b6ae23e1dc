"""Every query of docs/tables.md runs on the databases it is for, and says the same in both."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sinks.tables.changes import Changes
from tests.integration.read_rig import documented
from tests.integration.test_analysis_views import MESSAGES
from tests.integration.test_table_comments import ALIKE
from tests.postgres.changes_rig import NOTHING, Stream
from tests.postgres.tables_rig import Both, both
from tests.unit.project_tree import ROOT

__all__ = ["both"]

PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql ?(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def filled(both: Both) -> Both:
    """Both databases with the messages of the views' tests and every documented sample that Postgres takes."""
    both.write(Changes(NOTHING._replace(states={one["message_id"]: one for one in MESSAGES}), {}, {}))
    both.write(Stream().fold(*(sent for sent in documented() if b"u0000" not in sent.body)))
    return both


def test_every_query_runs_where_it_applies_and_finds_as_much_in_both(
    filled: Both, tmp_path: Path, postgres_url: str
) -> None:
    assert filled.postgres.last_transition() == filled.sqlite.last_transition() > 0
    found: dict[str, set[int]] = {}
    with closing(sqlite3.connect(tmp_path / "tables.db")) as sqlite, psycopg.connect(postgres_url) as postgres:
        for kind, query in QUERIES:
            if kind != "postgres":
                found.setdefault(query, set()).add(len(sqlite.execute(query).fetchall()))
            if kind != "sqlite":
                found.setdefault(query, set()).add(len(postgres.execute(query).fetchall()))

    assert {query: counts for query, counts in found.items() if len(counts) != 1} == {}
    assert sum(1 for counts in found.values() if counts != {0}) > len(QUERIES) / 2


def test_every_table_and_view_for_analysts_has_its_line_and_a_query() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))

    assert named == set(ALIKE)
    assert {name for name in named if not any(name in query for _, query in QUERIES)} == set()
