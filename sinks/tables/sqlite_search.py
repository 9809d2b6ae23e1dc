"""A search of messages as SQLite's SQL, answered by indexes in the order of the list.

Each arm names its rows by one index, newest first, so SQLite merges the arms and stops after a page,
however many rows there are. `+column` keeps the planner from choosing another index than the one the
arm is built for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sinks.tables.pages import NEWEST
from sinks.tables.search import MESSAGE_STATUSES, Arm, Search, arms_of, arms_of_name, is_text

__all__ = ["MESSAGE_STATUSES", "Query", "Search", "found_by", "found_by_name", "is_text"]


class Query(NamedTuple):
    """A `SELECT` of message numbers (`messages.seq`), and its values."""

    sql: str
    values: tuple[str | int, ...]


def found_by(search: Search, *, before: int, limit: int) -> Query | None:
    """The newest `limit` numbers below `before` that a search means; `None` where none can be meant."""
    return _merged(arms_of(search), before, limit)


def found_by_name(identifier: str, *, limit: int) -> Query | None:
    """The same for all messages of that name: their own id, one of the provider's, or a contact's."""
    return _merged(arms_of_name(identifier), NEWEST, limit)


def _merged(arms: Sequence[Arm], before: int, limit: int) -> Query | None:
    if not arms:
        return None
    queries = [_query(arm) for arm in arms]
    values = [value for query in queries for value in (*query.values, before)]
    return Query(" UNION ".join(query.sql for query in queries) + " ORDER BY 1 DESC LIMIT ?", (*values, limit))


def _query(arm: Arm) -> Query:
    """Numbers below a value that comes last."""
    select, led, number = "SELECT seq FROM messages", arm.led, "seq"
    if arm.identifier is not None:
        select = "SELECT message_seq FROM identifiers CROSS JOIN messages ON seq = message_seq"
        led, number = {"identifier": arm.identifier}, "message_seq"
    conditions = [*(f"{column} = ?" for column in led), *(f"+{column} = ?" for column in arm.asked)]
    values = (*led.values(), *arm.asked.values(), *(arm.statuses or ()))
    if arm.statuses is not None:
        conditions.append(f"+status IN ({', '.join('?' * len(arm.statuses))})")
    return Query(f"{select} WHERE {' AND '.join((*conditions, f'{number} < ?'))}", values)
