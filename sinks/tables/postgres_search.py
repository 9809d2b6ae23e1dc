"""A search of messages as Postgres's SQL, answered by indexes in the order of the list.

Every arm is cut to a page of its own, newest first, before they are put together: each index ends in
`seq`, so however many rows there are, an arm reads a page of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sinks.tables.pages import NEWEST
from sinks.tables.search import Arm, Search, arms_of, arms_of_name, is_text


class Query(NamedTuple):
    """A `SELECT` of message numbers (`messages.seq`), and its values."""

    sql: str
    values: tuple[str | int, ...]


def can_be_asked(value: str) -> bool:
    """Whether a text can be looked up. Postgres holds no U+0000; rows with one are in `set_aside`."""
    return is_text(value) and "\0" not in value


def found_by(search: Search, *, before: int, limit: int) -> Query | None:
    """The newest `limit` numbers below `before` that a search means; `None` where none can be meant."""
    return _merged(arms_of(search), before, limit)


def found_by_name(identifier: str, *, limit: int) -> Query | None:
    """The same for all messages of that name: their own id, one of the provider's, or a contact's."""
    return _merged(arms_of_name(identifier), NEWEST, limit)


def _merged(arms: Sequence[Arm], before: int, limit: int) -> Query | None:
    queries = [_query(arm, before, limit) for arm in arms]
    values = [value for query in queries for value in query.values]
    if not queries or not all(can_be_asked(value) for value in values if isinstance(value, str)):
        return None
    union = " UNION ".join(f"({query.sql})" for query in queries)
    return Query(f"SELECT seq FROM ({union}) AS found ORDER BY seq DESC LIMIT %s", (*values, limit))  # noqa: S608  marks only


def _query(arm: Arm, before: int, limit: int) -> Query:
    select, led = "SELECT m.seq FROM messages AS m", arm.led
    if arm.identifier is not None:
        select = "SELECT m.seq FROM identifiers AS i JOIN messages AS m USING (message_id)"
        led = {"identifier": arm.identifier}
    conditions = [*(f"{column} = %s" for column in (*led, *arm.asked)), "m.seq < %s"]
    values: tuple[str | int, ...] = (*led.values(), *arm.asked.values(), before)
    if arm.statuses is not None:
        conditions.append(f"status IN ({', '.join(['%s'] * len(arm.statuses))})" if arm.statuses else "false")
        values += arm.statuses
    return Query(f"{select} WHERE {' AND '.join(conditions)} ORDER BY m.seq DESC LIMIT %s", (*values, limit))
