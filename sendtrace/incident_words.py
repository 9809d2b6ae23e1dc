"""An incident in words for people, wherever they read it: how many, since when, in what state. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.incident_views import IncidentNotification
from schemas.incidents import SEVERITIES, Incident
from schemas.times import epoch_ms
from sendtrace.timeline import duration, moment

SHORT_ID_CHARS: Final = 8
_MINUTE_CHARS: Final = len("2020-08-31 18:58")


def worst_first(incidents: Iterable[Incident]) -> list[Incident]:
    """What is open before what is not, then by severity; among equals as they came."""
    return sorted(incidents, key=lambda one: (one["state"] != "open", -SEVERITIES.index(one["severity"])))


def short_id(incident_id: str) -> str:
    """What a person types: enough to tell apart those there are at a time."""
    return incident_id[:SHORT_ID_CHARS]


def how_many(incident: Incident) -> str:
    """`1,204`, or `1,204 of 20,000 (6.0 %)` where the rule is a rate."""
    total = incident["total"]
    if not total:
        return f"{incident['count']:,}"
    return f"{incident['count']:,} of {total:,} ({100 * incident['count'] / total:.2g} %)"


def ago(iso: str, now_ms: int) -> str:
    """How long ago a time was: `3.2 min`; nothing for what is still to come by this clock."""
    return duration(max(0, now_ms - epoch_ms(iso)))


def minute(iso: str) -> str:
    """A time to the minute."""
    return moment(iso)[:_MINUTE_CHARS]


def marks(incident: Incident, *, now_ms: int, parked: int = 0) -> list[str]:
    """What people did about it, and what could not be told."""
    told = []
    if incident["acknowledged_at"] is not None and incident["acknowledged_at"] >= incident["opened_at"]:
        told.append("acknowledged")
    until = incident["silenced_until"]
    if until is not None and epoch_ms(until) > now_ms:
        told.append(f"silenced until {minute(until)} UTC")
    if parked:
        told.append(f"{parked} {'notification' if parked == 1 else 'notifications'} parked")
    return told


def fate(notification: IncidentNotification) -> str:
    """What became of telling a target: `delivered`, `parked: gave up after 24 h; 500 from the server; 9 attempts`."""
    parts = [notification["reason"], notification["answer"] if notification["state"] != "delivered" else None]
    if notification["attempts"] > 1:
        parts.append(f"{notification['attempts']} attempts")
    if notification["next_at"] is not None and notification["state"] == "waiting":
        parts.append(f"next at {moment(notification['next_at'])}")
    return ": ".join(filter(None, (notification["state"], "; ".join(filter(None, parts)))))
