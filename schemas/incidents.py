"""An incident: one trouble of a group of messages, however many messages have it (design §8).

The records on topic `alerts` and in the tables, what the step that computes them remembers of a group, and
the store it works on. Who computes is `processors.incidents`, who tells people `sinks.notifications`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from pydantic import with_config
from typing_extensions import TypedDict

from schemas.records import STRICT

IncidentKind = Literal["count", "rate", "silence"]
Severity = Literal["info", "warning", "error", "critical"]
IncidentState = Literal["open", "resolved"]
IncidentChangeWord = Literal["opened", "updated", "escalated", "resolved", "reopened"]

#: From the least to the most.
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "error", "critical")
MOST_INCIDENT_SAMPLES: Final = 10


@with_config(STRICT)
class IncidentSample(TypedDict):
    """One postback behind an incident. `reason` is the provider's own text; a dead letter has no `message_id`."""

    message_id: str | None
    receipt_id: str
    received_at: str
    status: str
    reason: str | None


#: `class` is a keyword of Python and a field's name on the wire, so this one field is spelt functionally.
_Classed = TypedDict("_Classed", {"class": str | None})


@with_config(STRICT)
class Incident(_Classed):
    """The latest state of one incident. `incident_id` is made of what it is about, so it is the same wherever computed.

    `rule` is the name of the rule, `kind` what sort of rule it is. `count` and `first_seen` are of the present
    spell of trouble: after quiet, a return opens the same incident again with a new spell. `total` is what
    `count` is held against where the rule is a rate, what was expected where it is a silence, else `None`.
    `silenced_until`, `acknowledged_at` are people's.
    """

    incident_id: str
    rule: str
    kind: IncidentKind
    severity: Severity
    state: IncidentState
    source: str | None
    provider: str | None
    campaign_id: str | None
    domain: str | None
    count: int
    total: int | None
    first_seen: str
    last_seen: str
    opened_at: str
    resolved_at: str | None
    title: str
    advice: str
    samples: list[IncidentSample]
    silenced_until: str | None
    acknowledged_at: str | None


@with_config(STRICT)
class IncidentChange(TypedDict):
    """What happened to an incident, once: topic `alerts` and what people are told.

    `change_id` is made of the incident and of the change, so that one computed twice is one. `at` is event time.
    """

    change_id: str
    change: IncidentChangeWord
    at: str
    incident: Incident


class GroupState(NamedTuple):
    """What the step remembers of one group; the store looks at nothing of it but the times.

    `due_ms`: the event time (Unix milliseconds) at which it must be looked at although nothing came, or `None`.
    `state` is the step's own JSON; empty: the group is to be forgotten. `closed_by_hand_ms` is when somebody
    resolved its incident by hand, written by others and only read here.
    """

    group_id: str
    due_ms: int | None
    state: bytes
    closed_by_hand_ms: int | None = None


class IncidentOutputs(NamedTuple):
    """What one step writes, in the transaction of its positions. `incidents` leaves people's columns alone."""

    groups: Sequence[GroupState]
    incidents: Sequence[Incident]
    changes: Sequence[IncidentChange]


class GroupStore(Protocol):
    """What the step reads; the driver writes its outputs. Used by one thread."""

    def groups(self, group_ids: Iterable[str]) -> dict[str, GroupState]:
        """Those that exist."""
        ...

    def due(self, before_ms: int, *, limit: int) -> list[GroupState]:
        """The groups whose `due_ms` is at or before a time, the longest due first."""
        ...
