"""Which messages a search means, as SQL that an index answers in the order of the list.

A search is the union of arms. Each arm names its rows by one index, newest first, so SQLite merges
the arms and stops after a page, however many rows there are. `+column` keeps the planner from
choosing another index than the one the arm is built for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.statuses import OUTCOME, STATUSES, Axis
from sinks.tables.pages import NEWEST

#: The words a message's status can be; engagement lies beside it (design §5).
MESSAGE_STATUSES: Final = tuple(row.word for row in STATUSES if row.axis is not Axis.ENGAGEMENT)
_IDENTITY: Final = ("message_id", "dispatch_id", "external_send_id")
_OTHERWISE: Final = ("source", "campaign_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for; `None` asks nothing. `q` is any identifier the provider gave, in full."""

    q: str | None = None
    dispatch_id: str | None = None
    external_send_id: str | None = None
    source: str | None = None
    status: str | None = None
    campaign_id: str | None = None
    outcome: str | None = None


class Query(NamedTuple):
    """A `SELECT` of message numbers (`messages.seq`), and its values."""

    sql: str
    values: tuple[str | int, ...]


def found_by(search: Search, *, before: int, limit: int) -> Query | None:
    """The newest `limit` numbers below `before` that a search means; `None` where none can be meant."""
    return _merged(_arms(search), before, limit)


def found_by_name(identifier: str, *, limit: int) -> Query | None:
    """The same for all messages of that name: their own id, one of the provider's, or a contact's."""
    return _merged(_named(identifier, {}, None) if is_text(identifier) else [], NEWEST, limit)


def _merged(arms: Sequence[Query], before: int, limit: int) -> Query | None:
    if not arms:
        return None
    values = [value for arm in arms for value in (*arm.values, before)]
    return Query(" UNION ".join(arm.sql for arm in arms) + " ORDER BY 1 DESC LIMIT ?", (*values, limit))


def _arms(search: Search) -> list[Query]:
    asked = {name: value for name in (*_IDENTITY[1:], *_OTHERWISE) if (value := getattr(search, name)) is not None}
    if not all(map(is_text, (*asked.values(), search.q or ""))):
        return []
    statuses = _statuses(search)
    if search.q is not None:
        return [*_named(search.q, asked, statuses), *_of_campaign(search.q, asked, statuses)]
    for name in _IDENTITY[1:]:
        if name in asked:
            return [_arm({name: asked.pop(name)}, asked, statuses)]
    if "campaign_id" in asked:
        return _of_campaign(asked.pop("campaign_id"), asked, statuses)
    if statuses is not None:
        return [_arm({"status": status}, asked) for status in statuses]
    return [_arm(asked, {})]


def _statuses(search: Search) -> list[str] | None:
    """An outcome is a set of statuses, and those have an index."""
    if search.status is None and search.outcome is None:
        return None
    return [
        word for word in MESSAGE_STATUSES if search.status in {None, word} and search.outcome in {None, OUTCOME[word]}
    ]


def _named(name: str, asked: Mapping[str, str], statuses: Iterable[str] | None) -> list[Query]:
    identifiers = "SELECT message_seq FROM identifiers CROSS JOIN messages ON seq = message_seq"
    return [
        *(_arm({column: name}, asked, statuses) for column in _IDENTITY),
        _arm({"identifier": name}, asked, statuses, select=identifiers, number="message_seq"),
    ]


def _of_campaign(campaign_id: str, asked: Mapping[str, str], statuses: Iterable[str] | None) -> list[Query]:
    words = MESSAGE_STATUSES if statuses is None else statuses
    return [_arm({"campaign_id": campaign_id, "status": word}, asked) for word in words]


def _arm(
    led: Mapping[str, str],
    asked: Mapping[str, str],
    statuses: Iterable[str] | None = None,
    *,
    select: str = "SELECT seq FROM messages",
    number: str = "seq",
) -> Query:
    """Numbers below a value that comes last: found by the index on `led`, and held to `asked`."""
    conditions = [*(f"{column} = ?" for column in led), *(f"+{column} = ?" for column in asked)]
    values = [*led.values(), *asked.values()]
    if statuses is not None:
        words = tuple(statuses)
        conditions.append(f"+status IN ({', '.join('?' * len(words))})")
        values += words
    return Query(f"{select} WHERE {' AND '.join((*conditions, f'{number} < ?'))}", tuple(values))


def is_text(value: str) -> bool:
    """Whether a text can be looked up: what UTF-8 cannot hold was never let in, and SQLite would raise over it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
