"""What every table and column means is said in the databases themselves, in both with the same words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_writer import SqliteTables
from tests.postgres.tables_rig import rows_of

#: What both have, for analysts: by these names, with these columns, in both.
ALIKE = (
    *("messages", "transitions", "failures", "incidents", "dead_letters"),
    *("campaign_hourly", "delivery_latency", "failure_reasons", "open_messages", "facts"),
)
#: Of one database; where it speaks of how the rows are kept.
OWN_WORDS = {
    *(("transitions", ""), ("messages", "facts"), ("dead_letters", "position"), ("postbacks", "position")),
    *(("set_aside", "record"),),
}

Comments = dict[tuple[str, str], str | None]

_POSTGRES = """
SELECT c.relname, coalesce(a.attname, ''), CASE WHEN a.attnum IS NULL THEN obj_description(c.oid, 'pg_class')
       ELSE col_description(c.oid, a.attnum) END
FROM pg_class AS c LEFT JOIN LATERAL (
    SELECT NULL AS attname, NULL AS attnum
    UNION ALL SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
) AS a ON true
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
"""


def in_postgres(url: str) -> Comments:
    PostgresTables(url).close()
    return {
        (str(table), str(column)): None if text is None else str(text)
        for table, column, text in rows_of(url, _POSTGRES)
    }


def in_sqlite(directory: Path) -> Comments:
    SqliteTables(directory / "tables.db").close()
    with sqlite3.connect(directory / "tables.db") as connection:
        there = [
            (table, column)
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            for column in ("", *(row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})")))
        ]
        told = {row[:2]: row[2] for row in connection.execute("SELECT * FROM column_comments")}
    connection.close()
    assert sorted(set(told) - set(there)) == [], "comments on what is not there"
    return {key: told.get(key) for key in there}


def silent(comments: Comments) -> list[tuple[str, str]]:
    return sorted(key for key, text in comments.items() if not text)


def columns(comments: Comments, table: str) -> set[str]:
    return {column for name, column in comments if name == table}


def test_every_table_and_column_in_postgres_has_a_comment(postgres_url: str) -> None:
    assert silent(in_postgres(postgres_url)) == []


def test_every_table_and_column_in_sqlite_has_a_comment(tmp_path: Path) -> None:
    assert silent(in_sqlite(tmp_path)) == []


def test_what_both_have_means_the_same_in_both(tmp_path: Path, postgres_url: str) -> None:
    sqlite, postgres = in_sqlite(tmp_path), in_postgres(postgres_url)
    both = {key for key in sqlite.keys() & postgres.keys() - OWN_WORDS if key[0] in ALIKE}

    assert {key: sqlite[key] for key in both} == {key: postgres[key] for key in both}


def test_what_analysts_read_has_the_same_columns_in_both(tmp_path: Path, postgres_url: str) -> None:
    sqlite, postgres = in_sqlite(tmp_path), in_postgres(postgres_url)

    assert {name: columns(sqlite, name) for name in ALIKE} == {name: columns(postgres, name) for name in ALIKE}
    assert all(len(columns(sqlite, name)) > 1 for name in ALIKE)


def test_a_comment_is_a_sentence(postgres_url: str) -> None:
    unlike = {key: text for key, text in in_postgres(postgres_url).items() if text and not text.endswith(".")}

    assert unlike == {}
