"""What the gateway keeps: one request, its exact body and what was known when it came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

KIND_POSTBACK: Final = "postback"


class Postback(NamedTuple):
    """One accepted request. `body` is what came over the wire, still compressed if it was.

    `received_ms` is the gateway's clock in Unix milliseconds; `content_type` and
    `content_encoding` are the request's headers as sent, `""` where it had none.
    """

    source: str
    provider: str
    kind: str
    receipt_id: str
    received_ms: int
    content_type: str
    content_encoding: str
    body: bytes


class LogRecord(NamedTuple):
    """A postback with its place in the raw log; `position` grows along one partition."""

    position: int
    postback: Postback


class LogSlice(NamedTuple):
    """What one read of the raw log gave. The next read goes on at `next_position`, which may lie
    beyond the last record, and moves on without any, where nothing can be read: behind damage, or
    behind positions that were never used."""

    records: Sequence[LogRecord]
    next_position: int
