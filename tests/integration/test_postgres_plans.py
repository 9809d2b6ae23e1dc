"""What the Postgres tables are asked is answered by indexes, in tables large enough for it to matter."""

from __future__ import annotations

import psycopg
import pytest

from sinks.tables.pages import NEWEST
from sinks.tables.postgres_search import Query, found_by, found_by_name
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.search import Search
from tests.integration.read_rig import nrs
from tests.postgres.changes_rig import Stream
from tests.postgres.tables_rig import tables

__all__ = ["tables"]

_MESSAGES = 20_000
#: More of the one message that the real writer wrote, so that no column is written down here.
_MORE = f"""
INSERT INTO messages SELECT (json_populate_record(m, json_build_object(
    'seq', n, 'message_id', 'm' || n, 'dispatch_id', 'd' || n, 'external_send_id', 'e' || n,
    'campaign_id', 'c' || n % 20, 'source', 's' || n % 4, 'status', (ARRAY['sent', 'delivered', 'bounced'])[n % 3 + 1]
))).* FROM messages AS m, generate_series(2, {_MESSAGES}) AS n;
INSERT INTO identifiers SELECT 'contact-' || n % 5000, 'm' || n FROM generate_series(2, {_MESSAGES}) AS n;
ANALYZE
"""  # noqa: S608  a number of ours

SEARCHES = {
    "all": Search(),
    "q": Search(q="d7"),
    "q and source": Search(q="d7", source="s1"),
    "dispatch": Search(dispatch_id="d7"),
    "send": Search(external_send_id="e7", source="s1"),
    "source": Search(source="s1"),
    "status": Search(status="bounced"),
    "outcome": Search(outcome="failed"),
    "campaign": Search(campaign_id="c1"),
    "campaign and outcome": Search(campaign_id="c1", outcome="failed"),
}


@pytest.fixture
def many(tables: PostgresTables, postgres_url: str) -> psycopg.Connection:
    """Some ten thousand messages."""
    tables.write_changes(Stream().fold(nrs("id=1&channel=sms&event=sent&contactId=7")))
    connection = psycopg.connect(postgres_url, autocommit=True)
    connection.execute(_MORE)
    return connection


def rows_read(connection: psycopg.Connection, query: Query | None) -> tuple[str, float]:
    """The plan, and how many rows of tables it took."""
    assert query is not None
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM messages WHERE seq IN ({query.sql})"  # noqa: S608  marks only
    ((found,),) = connection.execute(explained, query.values).fetchall()
    return str(found), _read(found[0]["Plan"])


def _read(plan: dict[str, object]) -> float:
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    own = plan["Actual Rows"] * plan["Actual Loops"] if "Scan" in str(plan["Node Type"]) else 0  # type: ignore[operator]  # numbers
    return own + plan.get("Rows Removed by Filter", 0) + sum(map(_read, below))  # type: ignore[operator]  # the same


def test_every_search_reads_about_a_page(many: psycopg.Connection) -> None:
    read = {name: rows_read(many, found_by(search, before=NEWEST, limit=101)) for name, search in SEARCHES.items()}
    read["name"] = rows_read(many, found_by_name("contact-7", limit=101))
    many.close()

    assert {name: (count, plan) for name, (plan, count) in read.items() if count > 1_000 or "Seq Scan" in plan} == {}


def test_a_contact_of_many_messages_is_found(many: psycopg.Connection) -> None:
    query = found_by_name("contact-7", limit=2)
    assert query is not None
    found = many.execute(query.sql, query.values).fetchall()
    many.close()

    assert found == [(15_007,), (10_007,)]
