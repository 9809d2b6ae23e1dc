"""Rows that Postgres refuses: found among the others, which are kept, and set aside with the reason.

A row is never changed to make it fit. Trouble with the database itself is not a refusal and is raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

import psycopg
from psycopg.errors import ProgramLimitExceeded

from sinks.tables.postgres_connect import Connection

#: What one row is at fault for: a value, a type's bounds, a constraint, an index that holds no text as long, or a
#: record that is none of ours (then no row can be made of it).
REFUSALS: Final = (
    psycopg.DataError,
    psycopg.IntegrityError,
    ProgramLimitExceeded,
    *(KeyError, TypeError, ValueError, AttributeError),
)
_MOST_ID: Final = 200
_MOST_REASON: Final = 500
_SET_ASIDE: Final = (
    "INSERT INTO set_aside (table_name, record_id, reason, record, effect) VALUES (%s, %s, %s, %s, %s) "
    "ON CONFLICT (table_name, record_id) DO UPDATE SET reason = excluded.reason, record = excluded.record, "
    "effect = excluded.effect, set_aside_at = excluded.set_aside_at"
)

Record = TypeVar("Record")


class Aside(NamedTuple):
    """What is kept of a refused row. `record` is anything JSON can show; bytes are shown in hexadecimal."""

    record_id: str
    record: object
    effect: str | None = None


def keep(
    db: Connection,
    table: str,
    records: Sequence[Record],
    put: Callable[[Sequence[Record]], None],
    aside: Callable[[Record], Aside],
) -> int:
    """`put` all records, and set aside those it fails for; returns how many. Inside a transaction.

    Tries them together first, then by halves: k bad ones of n take about 2 k log n tries.
    """
    refused = 0
    waiting = [records] if records else []
    while waiting:
        some = waiting.pop()
        error = _try(db, some, put)
        if error is None:
            continue
        if len(some) == 1:
            refused += 1
            _set_aside(db, table, aside(some[0]), error)
        else:
            middle = len(some) // 2
            waiting += [some[middle:], some[:middle]]  # the first half is tried first: order is kept
    return refused


def escaped(text: str) -> str:
    """A text that any database takes and that still tells two texts apart; a long one ends in its digest."""
    ascii_only = json.dumps(text)[1:-1]
    if len(ascii_only) <= _MOST_ID:
        return ascii_only
    return f"{ascii_only[: _MOST_ID // 2]}...{sha256(ascii_only.encode()).hexdigest()}"


def _try(db: Connection, records: Sequence[Record], put: Callable[[Sequence[Record]], None]) -> Exception | None:
    """Why it was refused, with nothing of it left behind; `None` when it was taken."""
    try:
        with db.transaction():
            put(records)
    except REFUSALS as error:
        return error
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:  # the statement is at fault; without a state it is a value of no type known
            raise
        return error
    return None


def _set_aside(db: Connection, table: str, aside: Aside, error: Exception) -> None:
    reason = " ".join(str(error).split("\nCONTEXT:")[0].split()) or type(error).__name__
    record = json.dumps(aside.record, default=_shown)
    told = json.dumps(reason)[1:-1][:_MOST_REASON]
    db.execute(_SET_ASIDE, (table, escaped(aside.record_id), told, record, aside.effect))


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
