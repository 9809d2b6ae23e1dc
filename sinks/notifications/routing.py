"""Which changes are for which target. Pure.

A target is told of what all its labels hold for; one without labels of everything. That an incident is over
is for whoever was told that it began, so resolving passes here and is sorted out in `planning`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from schemas.incidents import Incident, IncidentChange, Severity
from sinks.notifications.records import TOLD_CHANGES, Silenced, rank


class Labels(NamedTuple):
    """`when` of a target. An empty list holds for every incident; `severity` is the least that does."""

    severity: Severity = "info"
    sources: Sequence[str] = ()
    campaigns: Sequence[str] = ()
    classes: Sequence[str] = ()


def is_for(labels: Labels, change: IncidentChange) -> bool:
    """Whether a target with these labels may have to hear of the change."""
    if change["change"] not in TOLD_CHANGES:
        return False
    return change["change"] == "resolved" or _holds(labels, change["incident"])


def _holds(labels: Labels, incident: Incident) -> bool:
    return (
        rank(incident["severity"]) >= rank(labels.severity)
        and (not labels.sources or incident["source"] in labels.sources)
        and (not labels.campaigns or incident["campaign_id"] in labels.campaigns)
        and (not labels.classes or incident["class"] in labels.classes)
    )


_LABELS: Mapping[str, Callable[[Incident], str | None]] = {
    "severity": lambda incident: incident["severity"],
    "source": lambda incident: incident["source"],
    "provider": lambda incident: incident["provider"],
    "campaign_id": lambda incident: incident["campaign_id"],
    "class": lambda incident: incident["class"],
    "domain": lambda incident: incident["domain"],
    "rule": lambda incident: incident["rule"],
}


def silenced_until_ms(incident: Incident, own_until_ms: int, silences: Sequence[Silenced]) -> int:
    """Until when nobody is to be told of it; 0 where nothing silences it."""
    return max(
        own_until_ms,
        *(each.until_ms for each in silences if each.label in _LABELS and _LABELS[each.label](incident) == each.value),
        0,
    )
