"""Records of `schemas.records` as rows of the Postgres tables, and back. Pure.

A time must be in the very form of `schemas.times` (`check_times`): what another form became in a
`timestamptz` would come back as another text. JSON columns are texts of JSON on both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final, cast

import orjson

from schemas.batch import DeadLetter, Receipt
from schemas.records import MessageStatus, StatusRecord, Transition
from sinks.tables.postgres_connect import Row

TRANSITION_COLUMNS: Final = tuple(Transition.__annotations__)
POSTBACK_COLUMNS: Final = ("position", "receipt_id", "message_id", "received_at", "content_type", "effect", "flags")
DEAD_LETTER_COLUMNS: Final = (
    *("position", "dead_id", "source", "provider", "stage", "reason", "detail", "receipt_id", "received_at"),
    *("content_type", "content_encoding", "body"),
)
_MESSAGE_TIMES: Final = (
    *("first_received_at", "last_received_at", "requested_at", "sent_at", "processed_at", "delivered_at", "failed_at"),
)
_JSON: Final = ("facts", "repeated_until")
_PLAIN: Final = tuple(name for name in StatusRecord.__annotations__ if name not in {*_MESSAGE_TIMES, *_JSON})
STATE_COLUMNS: Final = (*_PLAIN, *_MESSAGE_TIMES, *_JSON)
#: What is read of a message.
MESSAGE_COLUMNS: Final = tuple(MessageStatus.__annotations__)

_plain_values = itemgetter(*_PLAIN)
state_times: Final = itemgetter(*_MESSAGE_TIMES)
_transition_values = itemgetter(*TRANSITION_COLUMNS)
transition_times: Final = itemgetter("provider_time", "received_at")

#: In the order in which a record has them; `jsonb` has an order of its own.
_FACT: Final = (
    *("fact_id", "status", "provider_status", "provider_time", "received_at", "reason", "class", "effect"),
    "duplicates",
)
_FACTS: Final = MESSAGE_COLUMNS.index("facts")
_ROW_OVERHEAD_BYTES: Final = 1_024
_TIME_LENGTH: Final = len("2020-08-31T18:58:42.000Z")
_TIME_MARKS: Final = ((10, "T"), (19, "."), (23, "Z"))


class UnfitRowError(ValueError):
    """A record that Postgres would take and not give back as it was."""


def state_row(state: StatusRecord) -> Row:
    """In the order of `STATE_COLUMNS`. Raises what orjson raises."""
    repeated_until = orjson.dumps(state["repeated_until"]).decode() if state["repeated_until"] else "{}"
    return (*_plain_values(state), *state_times(state), orjson.dumps(state["facts"]).decode(), repeated_until)


def transition_row(transition: Transition) -> Row:
    """In the order of `TRANSITION_COLUMNS`."""
    return cast(Row, _transition_values(transition))


def postback_row(receipt: Receipt) -> Row:
    """In the order of `POSTBACK_COLUMNS`. Raises what orjson raises."""
    position, postback = receipt.record
    flags = orjson.dumps(receipt.flags).decode() if receipt.flags else "[]"
    return (
        *(position, postback.receipt_id, receipt.message_id, receipt.received_at, postback.content_type),
        *(receipt.effect, flags),
    )


def dead_letter_row(dead: DeadLetter) -> Row:
    """In the order of `DEAD_LETTER_COLUMNS`: one body, one dead letter, so its receipt names it."""
    position, postback = dead.record
    return (
        *(position, postback.receipt_id, postback.source, postback.provider, dead.stage, dead.rejected.reason.value),
        *(dead.rejected.detail, postback.receipt_id, dead.received_at, postback.content_type),
        *(postback.content_encoding, postback.body),
    )


def check_times(times: Iterable[str | None]) -> None:
    """Raises `UnfitRowError` when one is not as `schemas.times` writes it; Postgres would also take `today`.

    All are looked at as one text, each place of theirs at once: one by one it would take as long as writing them.
    """
    told = [text for text in times if text is not None]
    text = "".join(told)
    if len(text) != _TIME_LENGTH * len(told) or any(
        text[place::_TIME_LENGTH] != mark * len(told) for place, mark in _TIME_MARKS
    ):
        raise UnfitRowError("a time is not of the form 2020-08-31T18:58:42.000Z")


def message_of(row: Row) -> MessageStatus:
    """A row of `messages`, in `MESSAGE_COLUMNS` order."""
    record = dict(zip(MESSAGE_COLUMNS, row, strict=True))
    record["facts"] = [{name: fact[name] for name in _FACT} for fact in orjson.loads(record["facts"])]
    return cast(MessageStatus, record)


def message_bytes(row: Row) -> int:
    """About how much of an answer it takes: only the facts can be many."""
    return _ROW_OVERHEAD_BYTES + len(row[_FACTS])
