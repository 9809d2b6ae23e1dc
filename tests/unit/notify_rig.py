"""Incidents and changes of them for tests of notifications."""

from __future__ import annotations

from typing import Any

from schemas.codec import check
from schemas.incidents import Incident, IncidentChange, IncidentChangeWord
from schemas.times import iso_ms
from sinks.notifications.records import Pending, People, Silenced

NOW_MS = 1_600_000_000_000
LINKS_URL = "https://sendtrace.example.com"


def incident(name: str = "i1", **given: Any) -> Incident:  # noqa: ANN401  any field of an incident
    """One that is open, of severity error, since a minute ago."""
    made: dict[str, Any] = {
        "incident_id": name,
        "rule": "bounces",
        "kind": "count",
        "severity": "error",
        "state": "open",
        "source": "braze",
        "provider": "braze",
        "campaign_id": "c1",
        "class": "block_list",
        "domain": "example.net",
        "count": 1204,
        "total": None,
        "first_seen": iso_ms(NOW_MS - 60_000),
        "last_seen": iso_ms(NOW_MS),
        "opened_at": iso_ms(NOW_MS - 50_000),
        "resolved_at": None,
        "title": "block_list bounces at example.net",
        "advice": "Ask the list to remove you.",
        "samples": [
            {
                "message_id": "m1",
                "receipt_id": "r1",
                "received_at": iso_ms(NOW_MS),
                "status": "bounced",
                "reason": "550 5.7.1 <jane@example.org> blocked",
            }
        ],
        "silenced_until": None,
        "acknowledged_at": None,
    }
    return check(Incident, {**made, **given})


def change(
    word: IncidentChangeWord,
    name: str = "i1",
    *,
    number: int = 0,
    at_ms: int = NOW_MS,
    **given: Any,  # noqa: ANN401  as above
) -> IncidentChange:
    """A change of that incident; of one that is over where that is what it tells."""
    is_over = word == "resolved"
    over = {"state": "resolved", "resolved_at": iso_ms(at_ms)} if is_over else {}
    return {
        "change_id": f"{name}-{word}-{number}",
        "change": word,
        "at": iso_ms(at_ms),
        "incident": incident(name, **{**over, **given}),
    }


def pending(*changes: IncidentChange, held: bool = False) -> list[Pending]:
    """Changes that have waited, in this order."""
    return [Pending(number, NOW_MS - 10_000, held, each) for number, each in enumerate(changes, 1)]


def people(*incidents: Incident, silences: tuple[Silenced, ...] = ()) -> People:
    """What the tables say."""
    return People({each["incident_id"]: each for each in incidents}, silences)
