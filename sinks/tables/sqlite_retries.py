"""Asks for dead letters to be tried again: the one thing a reader of the tables may write.

It marks them and nothing more; the processor tries them, applies what it understands now and clears
the mark. A dead letter that a retry applied is never marked again: what was applied stays applied once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from sinks.personal.batches import ERASED_DETAIL
from sinks.tables.sqlite_search import is_text
from sinks.tables.sqlite_turns import transaction

_ROWS_PER_TRANSACTION: Final = 500  # marking rewrites a row with its body, and the processor waits meanwhile


def request_retry(
    path: Path,
    *,
    requested_at: str,
    dead_ids: Sequence[str] | None = None,
    reason: str | None = None,
    source: str | None = None,
) -> int:
    """Mark the open dead letters for which all that is given holds, and return their number.

    `dead_ids=None` means all. Those already marked count and stay as they are. Raises `sqlite3.Error`.
    """
    if not path.is_file():
        return 0
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'dead_letters'").fetchone() is None:
            return 0
        positions = _positions(db, dead_ids, {"reason": reason, "source": source})
        return sum(
            _mark(db, positions[start : start + _ROWS_PER_TRANSACTION], requested_at)
            for start in range(0, len(positions), _ROWS_PER_TRANSACTION)
        )


def _positions(db: sqlite3.Connection, dead_ids: Sequence[str] | None, asked: dict[str, str | None]) -> list[int]:
    given = {name: value for name, value in asked.items() if value is not None}
    if not all(map(is_text, given.values())):
        return []
    conditions = " AND ".join(("retried_at IS NULL", "detail <> ?", *(f"{name} = ?" for name in given)))
    select = f"SELECT position FROM dead_letters WHERE {conditions}"  # noqa: S608  names of our own
    values = (ERASED_DETAIL, *given.values())
    if dead_ids is None:
        return [row[0] for row in db.execute(select, values)]
    known = (db.execute(f"{select} AND dead_id = ?", (*values, dead_id)) for dead_id in filter(is_text, dead_ids))
    return sorted({row[0] for rows in known for row in rows})


def _mark(db: sqlite3.Connection, positions: Sequence[int], requested_at: str) -> int:
    marks = ", ".join("?" * len(positions))
    sql = (
        "UPDATE dead_letters SET retry_requested_at = coalesce(retry_requested_at, ?) "  # noqa: S608  only marks
        f"WHERE retried_at IS NULL AND position IN ({marks})"
    )
    with transaction(db):
        return db.execute(sql, (requested_at, *positions)).rowcount
