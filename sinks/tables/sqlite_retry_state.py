"""How far the retries somebody asked for have come. Only reads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from sinks.tables.sqlite_snapshots import Snapshots

_WAITING: Final = "SELECT count(*) FROM dead_letters WHERE retry_requested_at IS NOT NULL"
_APPLIED: Final = "SELECT count(*) FROM dead_letters WHERE retried_at >= ?"


class Retries(NamedTuple):
    """Dead letters asked for and not tried yet, and those a retry applied."""

    waiting: int
    applied: int


def retries_since(path: Path, since: str) -> Retries:
    """`waiting` now, and `applied` at `since` (a time of ours) or later. Raises `sqlite3.Error`."""
    with closing(Snapshots(path)) as snapshots, snapshots.take() as db:
        if db is None:
            return Retries(0, 0)
        return Retries(db.execute(_WAITING).fetchone()[0], db.execute(_APPLIED, (since,)).fetchone()[0])
