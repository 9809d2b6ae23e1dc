"""What the core makes of one fetched batch: everything the caller must write, at once or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.event import Rejected
from schemas.personal import Personal
from schemas.postback import LogRecord
from schemas.records import PostbackEffect, StatusRecord, Transition


class Receipt(NamedTuple):
    """What one postback did: a row of a message's timeline and one count of the audit."""

    record: LogRecord
    received_at: str
    message_id: str | None
    effect: PostbackEffect
    flags: tuple[str, ...]


class DeadLetter(NamedTuple):
    """A postback that was not understood, with the stage that refused it."""

    record: LogRecord
    received_at: str
    stage: str
    rejected: Rejected


class Batch(NamedTuple):
    """The outputs of a batch, in record order, and the states it left behind.

    `keys` gives each changed message its partition key; `identifiers` are further (text, message id)
    pairs under which a message is found. `words` are the statuses of the facts behind `transitions`, one
    each, where the batch comes from the core. `personal` are the personal values of messages, sealed.
    Every list is bounded by the number of records.
    """

    transitions: Sequence[Transition]
    states: dict[str, StatusRecord]
    keys: dict[str, str]
    receipts: Sequence[Receipt]
    dead: Sequence[DeadLetter]
    identifiers: Sequence[tuple[str, str]]
    words: Sequence[str] = ()
    personal: Sequence[Personal] = ()
