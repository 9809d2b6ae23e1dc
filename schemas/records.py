"""The records subscribers, analysts and the read API see (design §8).

Each is a `TypedDict`, the very dictionary that is written as JSON, and is checked by pydantic with
unknown fields forbidden (`schemas.codec`). docs/decisions/0002 says why they are not model objects.
A field that is not known is `None`, never absent. Times are texts of `schemas.times`.
"""

from __future__ import annotations

from typing import Final, Literal, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

FactEffect = Literal["current", "history", "engagement", "conflicting", "unknown"]
PostbackEffect = Literal["applied", "duplicate", "dead"]
TransitionKind = Literal["status", "engagement", "conflict", "overdue", "recovered"]
OutcomeWord = Literal["pending", "delivered", "failed"]

#: How our own records are checked: no field more, none of another type.
STRICT: Final = ConfigDict(extra="forbid", strict=True)


#: `class` is a keyword of Python and a field's name on the wire, so this one field is spelt functionally.
_Classed = TypedDict("_Classed", {"class": str | None})


@with_config(STRICT)
class Fact(_Classed):
    """One distinct thing a provider said of a message; `received_at` is when it was first said.

    `effect` is derived from the whole set of facts, so it does not depend on arrival order.
    """

    fact_id: str
    status: str
    provider_status: str
    provider_time: str | None
    received_at: str
    reason: str | None
    effect: FactEffect
    duplicates: int


@with_config(STRICT)
class MessageStatus(TypedDict):
    """The latest state of a message: topic `status`, `GET /v1/messages`.

    `version` counts the postbacks folded into it and only grows; `duplicates` counts those that
    added no fact.
    """

    message_id: str
    source: str
    provider: str
    channel: str | None
    dispatch_id: str | None
    external_send_id: str | None
    reference: str | None
    campaign_id: str | None
    status: str
    outcome: OutcomeWord
    conflict: bool
    overdue: bool
    reason: str | None
    bounce_class: str | None
    first_received_at: str
    last_received_at: str
    requested_at: str | None
    sent_at: str | None
    processed_at: str | None
    delivered_at: str | None
    failed_at: str | None
    facts: list[Fact]
    duplicates: int
    version: int


@with_config(STRICT)
class StatusRecord(MessageStatus):
    """The value of topic `status`: `MessageStatus` and what only the processor needs to go on from it.

    `repeated_until` gives, for engagement that comes without id or time, the last receipt of each
    occurrence that was repeated: fact id → time. The read API leaves it out.
    """

    repeated_until: dict[str, str]


def message_status(record: StatusRecord) -> MessageStatus:
    """What readers see of a status record; its facts are shared, not copied."""
    return cast(MessageStatus, {name: value for name, value in record.items() if name != "repeated_until"})


@with_config(STRICT)
class Transition(TypedDict):
    """What one applied postback changed: topic `transitions`, one for every new fact.

    `kind` is `conflict` when this fact made the message contradict itself, else the fact's axis;
    `status` and `outcome` are those after it. `version` is the message's, so later is larger.
    """

    transition_id: str
    kind: TransitionKind
    message_id: str
    source: str
    provider: str
    channel: str | None
    dispatch_id: str | None
    external_send_id: str | None
    reference: str | None
    campaign_id: str | None
    from_status: str | None
    status: str
    outcome: OutcomeWord
    provider_status: str
    provider_time: str | None
    received_at: str
    reason: str | None
    bounce_class: str | None
    conflict: bool
    receipt_id: str
    version: int


@with_config(STRICT)
class PostbackView(TypedDict):
    """One receipt in a message's timeline; `effect` is what it did on arrival.

    `flags` name what was odd and survived. `body_base64` is `None` once the raw log's retention
    has passed, and, with the flag `body_left_out`, where one answer would grow too large, or, with
    `body_erased`, where a recipient of it was erased.
    """

    receipt_id: str
    received_at: str
    content_type: str
    effect: PostbackEffect
    flags: list[str]
    body_base64: str | None


@with_config(STRICT)
class IncidentLink(TypedDict):
    """An incident that has the message as a sample; `GET /v1/incidents/{incident_id}` has the rest."""

    incident_id: str
    title: str
    state: Literal["open", "resolved"]


@with_config(STRICT)
class MessageDetail(MessageStatus):
    """`GET /v1/messages/{message_id}`: the state, what it went through, and the raw postbacks, oldest first."""

    transitions: list[Transition]
    postbacks: list[PostbackView]
    incidents: list[IncidentLink]


@with_config(STRICT)
class DeadLetterView(TypedDict):
    """`GET /v1/dead`: a body that was kept and not understood. `reason` is a `RejectReason`."""

    dead_id: str
    source: str
    provider: str
    stage: str
    reason: str
    detail: str
    receipt_id: str
    received_at: str
    content_type: str
    body_base64: str
    retried_at: str | None


@with_config(STRICT)
class AuditRow(TypedDict):
    """Bodies of one source received in one hour, each counted once (design §2.2)."""

    source: str
    hour: str
    accepted: int
    applied: int
    duplicates: int
    dead: int
    pending: int


@with_config(STRICT)
class Audit(TypedDict):
    """`GET /v1/audit`: accepted = applied + duplicates + dead + pending, in total and in every row."""

    accepted: int
    applied: int
    duplicates: int
    dead: int
    pending: int
    balanced: bool
    rows: list[AuditRow]
