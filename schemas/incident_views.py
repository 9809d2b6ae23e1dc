"""What people are shown of incidents beside the incident itself: its history, who was told, what is silenced."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Literal

from pydantic import with_config
from typing_extensions import TypedDict

from schemas.incidents import Incident, IncidentChangeWord, Severity
from schemas.records import STRICT

SilenceLabel = Literal["severity", "source", "provider", "campaign_id", "class", "domain", "rule"]
#: What incidents can be silenced by, as the table `silences` has it.
SILENCE_LABELS: Final[tuple[SilenceLabel, ...]] = (
    *("severity", "source", "provider", "campaign_id", "class", "domain", "rule"),
)
NotificationState = Literal["waiting", "delivered", "parked", "dropped"]


@with_config(STRICT)
class IncidentStep(TypedDict):
    """One change of an incident's history: what happened, in event time, and the numbers as they were then."""

    change_id: str
    change: IncidentChangeWord
    at: str
    severity: Severity
    count: int
    total: int | None


@with_config(STRICT)
class IncidentNotification(TypedDict):
    """What became of telling one target of the settings of one change.

    `reason` is why it was parked or dropped, `answer` what the target last said. `attempts` is 0 and the times are
    `None` until there was one.
    """

    target: str
    change: IncidentChangeWord
    state: NotificationState
    reason: str | None
    taken_at: str
    attempts: int
    tried_at: str | None
    next_at: str | None
    settled_at: str | None
    answer: str | None


@with_config(STRICT)
class IncidentDetail(Incident):
    """`GET /v1/incidents/{incident_id}`: the incident, what happened to it, and who was told, oldest first.

    Of a long history the first and the last hundred changes are given, and the last two hundred notifications.
    """

    changes: list[IncidentStep]
    notifications: list[IncidentNotification]


@with_config(STRICT)
class Silence(TypedDict):
    """Nobody is told of incidents with this label and value before `until`."""

    label: SilenceLabel
    value: str
    until: str
    made_at: str


def id_of_resolved_by_hand(incident_id: str, closed_by_hand_ms: int) -> str:
    """The `change_id` of what somebody who resolves an incident at a time (Unix milliseconds) makes of it."""
    return blake2b(f"{incident_id} by hand {closed_by_hand_ms}".encode(), digest_size=16).hexdigest()
