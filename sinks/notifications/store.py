"""What notifications keep in the tables' database, and the port to it.

Every method is one transaction: all of it is written or nothing. Used by one thread at a time, by one process at a
time (`sendtrace.notify_lock`). Raises `sqlite3.Error` or `TablesError` where the database does not answer, then try
again; the tables themselves are made by whoever writes incidents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from schemas.incidents import IncidentChange
from sinks.notifications.planning import Plan
from sinks.notifications.records import Message, Outcome, Pending, People, Waiting

#: So many changes of one target wait in `deliveries`; others wait where they are.
MOST_WAITING: Final = 20_000


class TargetCounts(NamedTuple):
    """How a target stands: messages that were delivered and parked, and changes that wait."""

    delivered: int
    parked: int
    waiting: int


class NotificationStore(Protocol):
    """See the module."""

    def begin(self, targets: Collection[str], now_ms: int) -> None:
        """Called once at the start, with every target of the settings.

        A new one is told of nothing that was made before `now_ms`; one that is gone is forgotten, with all that waits
        for it.
        """
        ...

    def take_in(self, target: str, is_for: Callable[[IncidentChange], bool], now_ms: int) -> int:
        """Note the next changes that are for a target, some hundred at most; returns how many it noted."""
        ...

    def waiting(self, target: str, now_ms: int) -> Waiting:
        """What is in no message yet, and not held back."""
        ...

    def pending(self, target: str) -> Sequence[Pending]:
        """All that is in no message yet, by seq; what is held back too, because an incident's changes go together."""
        ...

    def told(self, target: str) -> Mapping[str, bool]:
        """The incidents it knows to be open; `True` for one that was only counted."""
        ...

    def people(self, incident_ids: Collection[str], now_ms: int) -> People:
        """What the tables say of incidents now, and the silences in force."""
        ...

    def tried(self, target: str, since_ms: int) -> Sequence[int]:
        """When messages were last tried, those not tried yet by when they were made. Unix milliseconds, any order."""
        ...

    def put(self, target: str, plan: Plan, message_id: str, now_ms: int) -> None:
        """Write what was decided. With a notice there is a message to be sent from now on."""
        ...

    def in_hand(self, target: str) -> Message | None:
        """The message that is being sent: at most one a target."""
        ...

    def tried_again(self, message: Message, outcome: Outcome, now_ms: int, next_ms: int) -> None:
        """It was not delivered, and is tried again at `next_ms`."""
        ...

    def settle(self, message: Message, outcome: Outcome, now_ms: int, *, delivered: bool) -> None:
        """It was delivered, or is parked for the reason of `outcome`. A parked one has told nobody of anything."""
        ...

    def counts(self) -> Mapping[str, TargetCounts]:
        """How every target stands that was ever begun and is not gone."""
        ...

    def clean(self, before_ms: int) -> None:
        """Delete what was settled before a time."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...
