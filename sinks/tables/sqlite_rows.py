"""Rows of the SQLite tables as the records of `schemas.records`. Pure: a row in, a record out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import orjson

from schemas.postback import KIND_POSTBACK, Postback
from schemas.records import DeadLetterView, MessageStatus, PostbackEffect, PostbackView, Transition, message_status
from schemas.times import epoch_ms
from sinks.tables.sqlite_writer import STATE_COLUMNS, state_of

MESSAGE_COLUMNS: Final = STATE_COLUMNS
TRANSITION_COLUMNS: Final = tuple(Transition.__annotations__)
POSTBACK_COLUMNS: Final = ("position", "receipt_id", "received_at", "content_type", "effect", "flags")
DEAD_COLUMNS: Final = tuple("body" if name == "body_base64" else name for name in DeadLetterView.__annotations__)
DEAD_POSTBACK_COLUMNS: Final = (
    *("source", "provider", "receipt_id", "received_at", "content_type", "content_encoding", "body"),
)

_FACTS: Final = STATE_COLUMNS.index("facts")
_BODY: Final = DEAD_COLUMNS.index("body")
_ROW_OVERHEAD_BYTES: Final = 1_024

#: In the view where the body would be, once the raw log's retention has passed or the answer is full.
BODY_LEFT_OUT: Final = "body_left_out"

Row = Sequence[Any]  # whatever sqlite3 hands out


class PostbackRow(NamedTuple):
    """A row of `postbacks` in `POSTBACK_COLUMNS` order."""

    position: int
    receipt_id: str
    received_at: str
    content_type: str
    effect: PostbackEffect
    flags: str


def message_of(row: Row) -> MessageStatus:
    """A row of `messages`, in `MESSAGE_COLUMNS` order."""
    return message_status(state_of(row))


def message_bytes(row: Row) -> int:
    """About how much of an answer it takes: only the facts can be many."""
    return _ROW_OVERHEAD_BYTES + 4 * len(row[_FACTS])


def transition_of(row: Row) -> Transition:
    """A row of the view `transitions`, in `TRANSITION_COLUMNS` order."""
    record = dict(zip(TRANSITION_COLUMNS, row, strict=True))
    record["conflict"] = bool(record["conflict"])
    return cast(Transition, record)


def postback_of(row: PostbackRow, body: bytes | None, *, left_out: bool = False) -> PostbackView:
    """A row of `postbacks` and the body that lies at its position."""
    flags = orjson.loads(row.flags)
    return {
        "receipt_id": row.receipt_id,
        "received_at": row.received_at,
        "content_type": row.content_type,
        "effect": row.effect,
        "flags": [*flags, BODY_LEFT_OUT] if left_out else flags,
        "body_base64": None if body is None else b64encode(body).decode(),
    }


def dead_of(row: Row) -> DeadLetterView:
    """A row of `dead_letters`, in `DEAD_COLUMNS` order."""
    record = dict(zip(DeadLetterView.__annotations__, row, strict=True))
    record["body_base64"] = b64encode(record["body_base64"]).decode()
    return cast(DeadLetterView, record)


def dead_postback_of(row: Row) -> Postback:
    """A row of `dead_letters`, in `DEAD_POSTBACK_COLUMNS` order."""
    source, provider, receipt_id, received_at, content_type, content_encoding, body = row
    return Postback(
        source=source,
        provider=provider,
        kind=KIND_POSTBACK,
        receipt_id=receipt_id,
        received_ms=epoch_ms(received_at),
        content_type=content_type,
        content_encoding=content_encoding,
        body=bytes(body),
    )


def dead_bytes(row: Row) -> int:
    """About how much of an answer it takes."""
    return _ROW_OVERHEAD_BYTES + 4 * len(row[_BODY]) // 3
