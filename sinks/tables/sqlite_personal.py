"""Personal data and the list of what was erased as rows of SQLite, inside the transaction of whoever calls."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from schemas.personal import Erased, Personal

_COLUMNS: Final = "digest, shape, chars, key_id, erased_at"
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM erasures"
_ALL: Final = f"SELECT {_COLUMNS} FROM erasures ORDER BY seq"  # noqa: S608  columns of our own
_ADD: Final = f"INSERT INTO erasures ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608  as above
_PUT: Final = "INSERT INTO personal_data (message_id, kind, digest, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_FORGET_PERSONAL: Final = "DELETE FROM personal_data WHERE message_id = ?"
_FORGET_NAMES: Final = (
    "DELETE FROM identifiers WHERE message_seq = (SELECT seq FROM messages WHERE messages.message_id = ?)"
)


def last_erasure(db: sqlite3.Connection) -> int:
    """The number of the newest entry of the list, 0 without any."""
    return int(db.execute(_LAST).fetchone()[0])


def erasures(db: sqlite3.Connection) -> Iterator[Erased]:
    """The whole list, oldest first."""
    return (Erased(*row) for row in db.execute(_ALL))


def add_erasures(db: sqlite3.Connection, entries: Iterable[Erased]) -> None:
    """Put entries on the list; those that are there stay as they are."""
    db.executemany(_ADD, entries)


def put_personal(db: sqlite3.Connection, rows: Iterable[Personal]) -> None:
    """Sealed values, each once."""
    db.executemany(_PUT, rows)


def forget_messages(db: sqlite3.Connection, message_ids: Iterable[str]) -> tuple[int, int]:
    """Everything that ties messages to a person; how many personal values and identifiers that were."""
    ids = [(message_id,) for message_id in message_ids]
    personal = db.executemany(_FORGET_PERSONAL, ids).rowcount
    names = db.executemany(_FORGET_NAMES, ids).rowcount
    return max(personal, 0), max(names, 0)
