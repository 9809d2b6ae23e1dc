"""Records that were fetched from the topics of the worker, decoded and put together. Pure.

What is not understood is counted and named in one log line, and left out: a sink that stopped for
it would stop for everybody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.batch import Batch, DeadLetter, Receipt
from schemas.codec import RecordError
from schemas.kafka_outputs import dead_letter_of, receipts_of, state_of, transition_of
from schemas.kafka_records import Headers
from schemas.personal import Personal
from schemas.records import StatusRecord, Transition
from schemas.topics import DEAD, RECEIPTS, STATUS, TRANSITIONS
from sinks.tables.changes import Changes

_log = logging.getLogger(__name__)


class Fetched(Protocol):
    """A record as the client gives it."""

    @property
    def partition(self) -> int: ...  # noqa: D102  Kafka's words
    @property
    def offset(self) -> int: ...  # noqa: D102  Kafka's words
    @property
    def value(self) -> bytes | None: ...  # noqa: D102  Kafka's words
    @property
    def headers(self) -> Headers: ...  # noqa: D102  Kafka's words


@dataclass(slots=True)
class Chunk:
    """What a few fetches brought. `raw_ends` says of raw partitions how far the worker has handled them."""

    transitions: list[Transition] = field(default_factory=list)
    states: dict[str, StatusRecord] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    identifiers: list[tuple[str, str]] = field(default_factory=list)
    personal: list[Personal] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    raw_ends: dict[int, int] = field(default_factory=dict)
    spoken_of: set[int] = field(default_factory=set)
    not_understood: int = 0

    def add(self, topic: str, records: Iterable[Fetched]) -> None:
        """Decode records of one topic, named as in the catalogue."""
        take = {STATUS.name: self._state, TRANSITIONS.name: self._transition}.get(
            topic, self._receipts if topic == RECEIPTS.name else self._dead
        )
        for record in records:
            try:
                take(record)
            except RecordError as error:
                self.not_understood += 1
                _log.error("%s %d@%d is not understood: %s", topic, record.partition, record.offset, error)

    def changes(self, positions: Mapping[tuple[str, int], int], accepted: Mapping[tuple[str, str], int]) -> Changes:
        """Everything so far as one transaction."""
        batch = Batch(
            self.transitions, self.states, {}, self.receipts, self.dead, self.identifiers, personal=self.personal
        )
        return Changes(batch, accepted, positions)

    @property
    def rows(self) -> dict[str, int]:
        """Topic → rows that come of it."""
        counts = (len(self.states), len(self.transitions), len(self.receipts), len(self.dead))
        return dict(zip(SUNK, counts, strict=True))

    def _state(self, record: Fetched) -> None:
        if record.value is None:  # the state has ended; its row stays
            return
        state = state_of(record.value)
        message_id = state.get("message_id")
        if type(message_id) is not str:
            raise RecordError("status record: has no message_id")
        self.states[message_id] = state

    def _transition(self, record: Fetched) -> None:
        self.transitions.append(transition_of(record.value or b""))
        self.spoken_of.add(record.partition)

    def _receipts(self, record: Fetched) -> None:
        end, receipts, identifiers, personal = receipts_of(record.value or b"", partition=record.partition)
        if type(end) is not int:
            raise RecordError("receipts record: next_offset is no number")
        self.receipts += receipts
        self.identifiers += identifiers
        self.personal += personal
        self.raw_ends[record.partition] = max(end, self.raw_ends.get(record.partition, 0))
        self.spoken_of.add(record.partition)

    def _dead(self, record: Fetched) -> None:
        self.dead.append(dead_letter_of(record.headers, record.value))


#: The topics that are read, by name; `Chunk.rows` has this order.
SUNK: Final = (STATUS.name, TRANSITIONS.name, RECEIPTS.name, DEAD.name)
