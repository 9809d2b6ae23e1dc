"""The processor's working copy of a message, and its two forms: the public record and back.

Slotted objects and not dictionaries, because a worker holds tens of thousands of them and touches
one for every postback (docs/decisions/0002 has the figures). Only the lifecycle changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from schemas.records import Fact, FactEffect, MessageStatus, OutcomeWord, StatusRecord


@dataclass(slots=True)
class FactState:
    """One fact; the fields are those of `schemas.records.Fact`, `bounce_class` is its `class`."""

    fact_id: str
    status: str
    provider_status: str
    provider_time: str | None
    received_at: str
    reason: str | None
    bounce_class: str | None
    effect: FactEffect = "history"
    duplicates: int = 0


@dataclass(slots=True)
class MessageState:
    """Everything known of one message; the fields are those of `schemas.records.StatusRecord`."""

    message_id: str
    source: str
    provider: str
    channel: str | None
    dispatch_id: str | None
    external_send_id: str | None
    reference: str | None
    campaign_id: str | None
    first_received_at: str
    last_received_at: str
    status: str = "unknown"
    outcome: OutcomeWord = "pending"
    conflict: bool = False
    overdue: bool = False
    reason: str | None = None
    bounce_class: str | None = None
    requested_at: str | None = None
    sent_at: str | None = None
    processed_at: str | None = None
    delivered_at: str | None = None
    failed_at: str | None = None
    facts: list[FactState] = field(default_factory=list)
    duplicates: int = 0
    version: int = 0
    repeated_until: dict[str, str] = field(default_factory=dict)


def fact_record(fact: FactState) -> Fact:
    """The public form of a fact."""
    return {
        "fact_id": fact.fact_id,
        "status": fact.status,
        "provider_status": fact.provider_status,
        "provider_time": fact.provider_time,
        "received_at": fact.received_at,
        "reason": fact.reason,
        "class": fact.bounce_class,
        "effect": fact.effect,
        "duplicates": fact.duplicates,
    }


def message_status(state: MessageState) -> MessageStatus:
    """The public form of a message: what the read API answers."""
    return {
        "message_id": state.message_id,
        "source": state.source,
        "provider": state.provider,
        "channel": state.channel,
        "dispatch_id": state.dispatch_id,
        "external_send_id": state.external_send_id,
        "reference": state.reference,
        "campaign_id": state.campaign_id,
        "status": state.status,
        "outcome": state.outcome,
        "conflict": state.conflict,
        "overdue": state.overdue,
        "reason": state.reason,
        "bounce_class": state.bounce_class,
        "first_received_at": state.first_received_at,
        "last_received_at": state.last_received_at,
        "requested_at": state.requested_at,
        "sent_at": state.sent_at,
        "processed_at": state.processed_at,
        "delivered_at": state.delivered_at,
        "failed_at": state.failed_at,
        "facts": [fact_record(fact) for fact in state.facts],
        "duplicates": state.duplicates,
        "version": state.version,
    }


def status_record(state: MessageState) -> StatusRecord:
    """The value of topic `status`."""
    return {**message_status(state), "repeated_until": state.repeated_until}


def state_from_record(record: StatusRecord) -> MessageState:
    """The inverse of `status_record`; nothing mutable is shared."""
    fields = {**record, "facts": [fact_from_record(fact) for fact in record["facts"]]}
    fields["repeated_until"] = dict(record["repeated_until"])
    return MessageState(**cast(dict[str, Any], fields))  # the record has checked each field's type


def fact_from_record(fact: Fact) -> FactState:
    """The inverse of `fact_record`."""
    fields = {"bounce_class" if name == "class" else name: value for name, value in fact.items()}
    return FactState(**cast(dict[str, Any], fields))
