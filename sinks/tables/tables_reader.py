"""What a reader of the tables can be asked, whatever database they are in, and what it answers.

Any number of threads may ask. Every answer is of one moment; before there are tables it is empty.
Trouble with the database is `sqlite3.Error`, `OSError` or `sinks.tables.trouble.TablesError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.incident_views import IncidentDetail, Silence
from schemas.incidents import Incident
from schemas.postback import Postback
from schemas.records import DeadLetterView, IncidentLink, MessageDetail, MessageStatus, Transition
from sinks.tables.pages import DEFAULT_ITEMS, MOST_ITEMS, Page

#: The body that lies at a position of the raw log, or `None`.
BodyAt = Callable[[int], bytes | None]


class Tail(NamedTuple):
    """Transitions, oldest first, and the number to go on from: nothing up to it was passed over."""

    transitions: list[Transition]
    seq: int


class AuditCount(NamedTuple):
    """What became of the bodies of one source and hour.

    `accepted` are the bodies counted on the raw topic, repeated records left out; 0 in the embedded
    pipeline, whose raw log counts them itself.
    """

    source: str
    hour: str
    applied: int
    duplicates: int
    dead: int
    accepted: int = 0


class Audited(NamedTuple):
    """The counts of every body before `position`; on Kafka before `raw_positions`, raw partition → next offset."""

    position: int
    counts: list[AuditCount]
    raw_positions: Mapping[int, int]


class Handled(NamedTuple):
    """Of one moment: what became of every body before `position`, and the open dead letters by reason."""

    position: int
    counts: list[AuditCount]
    open_dead: dict[str, int]


class IncidentsReader(Protocol):
    """What can be asked of incidents; `sinks.tables.incident_reading` says of each method what it promises."""

    def incidents(
        self,
        *,
        state: str | None = None,
        severity: str | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
        class_: str | None = None,
        rule: str | None = None,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[Incident]:
        """Incidents by their latest news, newest first."""
        ...

    def incident(self, incident_id: str) -> IncidentDetail | None:
        """One incident with its history, and who was told."""
        ...

    def incident_ids(self, prefix: str, *, limit: int = 10) -> list[str]:
        """The ids that begin with a text."""
        ...

    def incidents_of_message(self, message_id: str) -> list[IncidentLink]:
        """The incidents that have the message as a sample."""
        ...

    def open_incidents(self) -> dict[str, int]:
        """Severity → incidents that are open."""
        ...

    def parked_notifications(self, incident_ids: Sequence[str]) -> dict[str, int]:
        """Of those incidents: how many notifications no target took."""
        ...

    def silences(self, at: str) -> list[Silence]:
        """The silences by label that are in force at a time."""
        ...


class TablesReader(IncidentsReader, Protocol):
    """The read side of a set of tables; `sinks.tables.sqlite_reader` says of each method what it promises."""

    def close(self) -> None:
        """Give the connections back."""
        ...

    def messages(
        self,
        *,
        q: str | None = None,
        dispatch_id: str | None = None,
        external_send_id: str | None = None,
        source: str | None = None,
        status: str | None = None,
        campaign_id: str | None = None,
        outcome: str | None = None,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[MessageStatus]:
        """Messages by first sight, newest first."""
        ...

    def message(self, message_id: str, *, body_at: BodyAt) -> MessageDetail | None:
        """One message with its timeline."""
        ...

    def find(self, identifier: str, *, limit: int = DEFAULT_ITEMS) -> list[str]:
        """The ids of the newest messages of that name."""
        ...

    def dead(
        self,
        *,
        reason: str | None = None,
        source: str | None = None,
        open_only: bool = False,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[DeadLetterView]:
        """Dead letters, newest first."""
        ...

    def dead_one(self, dead_id: str) -> DeadLetterView | None:
        """One dead letter."""
        ...

    def dead_postback(self, dead_id: str) -> Postback | None:
        """One dead letter as the postback it was: exact bytes, encoding and all."""
        ...

    def last_transition(self) -> int:
        """The number of the newest transition."""
        ...

    def transitions_after(
        self, seq: int, *, limit: int = MOST_ITEMS, status: str | None = None, source: str | None = None
    ) -> Tail:
        """What happened since."""
        ...

    def counts_by_status(self) -> dict[str, int]:
        """Status → messages that have it now."""
        ...

    def latest_reasons(self, *, most: int = 3) -> dict[str, list[str]]:
        """Status → different reasons its newest messages have."""
        ...

    def progress(self) -> int:
        """Every record of an embedded raw log before this position is in the tables."""
        ...

    def audit_rows(self) -> Audited:
        """The counts and what they are true for."""
        ...

    def handled(self) -> Handled:
        """What metrics show of the tables."""
        ...
