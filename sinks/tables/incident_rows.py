"""Rows of the tables of incidents as records. Pure; the same for both databases."""

from __future__ import annotations

from typing import Final, cast

import orjson

from schemas.incident_views import IncidentNotification, IncidentStep
from schemas.incidents import Incident, IncidentSample
from sinks.tables.asking import Row

INCIDENT_COLUMNS: Final = tuple(Incident.__annotations__)
CHANGE_COLUMNS: Final = ("change_id", "change", "at", "record")

_SAMPLES: Final = INCIDENT_COLUMNS.index("samples")
_SAMPLE_FIELDS: Final = tuple(IncidentSample.__annotations__)
_ROW_OVERHEAD_BYTES: Final = 1_024


def incident_of(row: Row) -> Incident:
    """A row of `incidents`, in `INCIDENT_COLUMNS` order."""
    record = dict(zip(INCIDENT_COLUMNS, row, strict=True))
    # `jsonb` has an order of its own: fields as the record has them.
    record["samples"] = [{name: sample[name] for name in _SAMPLE_FIELDS} for sample in orjson.loads(record["samples"])]
    return cast(Incident, record)


def incident_bytes(row: Row) -> int:
    """About how much of an answer it takes: only what providers said can be long."""
    return _ROW_OVERHEAD_BYTES + len(row[_SAMPLES])


def step_of(row: Row) -> IncidentStep:
    """A row of `incident_changes`, in `CHANGE_COLUMNS` order."""
    change_id, change, at, record = row
    incident = orjson.loads(record)["incident"]
    return {
        "change_id": change_id,
        "change": change,
        "at": at,
        "severity": incident["severity"],
        "count": incident["count"],
        "total": incident["total"],
    }


def notification_of(row: Row) -> IncidentNotification:
    """A row of `deliveries` and of the message that told it, in the order of the record's fields."""
    return cast(IncidentNotification, dict(zip(IncidentNotification.__annotations__, row, strict=True)))
