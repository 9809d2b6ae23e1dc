"""The seams between the parts: who calls, what may block, and what success does not promise.

Each port has one contract and at least two ways to keep it (embedded and Kafka); a conformance
suite in `tests/contract` holds every implementation to the words below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from schemas.postback import LogSlice, Postback
from schemas.records import StatusRecord


class Clock(Protocol):
    """The only way a shell learns the time; decisions are handed it as an argument."""

    def now_ms(self) -> int:
        """Unix milliseconds. May jump; never used to measure a wait."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed point. Never goes back; only differences mean anything."""
        ...


class Waiter(Protocol):
    """Whoever waits for a postback to become durable."""

    def settle(self, kept: bool) -> None:
        """Called once, on the event loop. `kept` true: durable. False: it may or may not survive,
        so the sender must be told to try again."""
        ...


class PostbackLog(Protocol):
    """Where the gateway puts what it accepted. Used by one event loop."""

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """Queue one postback and return at once; `waiter` is settled when its batch is.

        Postbacks that arrive while a batch is in flight ride the next one, in the order of the
        calls. Success means fsynced on this machine or acknowledged by all in-sync replicas; it
        does not mean processed. Never raises for a full or failing disk or broker: settles `False`.
        """
        ...

    def can_keep(self) -> bool:
        """Whether a postback appended now would probably be kept: readiness, not a promise."""
        ...


class LogReader(Protocol):
    """The processor's side of the raw log. May block on the disk; used by one thread."""

    def read(self, position: int, max_bytes: int) -> LogSlice:
        """Records from `position` on, at least one if there is one, none at the durable end.

        A record returned is durable. Damaged bytes are passed over and reported through the
        implementation's damage count, never returned and never an endless wait: go on at the
        slice's `next_position`, which moves past them even when there are no records.
        """
        ...


class StateStore(Protocol):
    """The state of the messages of one partition, as of the last committed batch.

    Only reading is the core's; the driver writes a whole `Batch` together with its position in one
    transaction, so a half-written batch is never seen here.
    """

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The states that exist. The caller owns the records returned and may change them."""
        ...
