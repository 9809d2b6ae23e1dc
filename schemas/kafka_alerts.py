"""A change of an incident as a record of topic `alerts` (design §3). Pure: bytes and texts, no client.

The value is the `Incident` as it was then; what happened to it, and the id that tells a repeat, are headers,
so that a reader can filter without parsing a body.
"""

from __future__ import annotations

from typing import Final

from schemas.codec import encode
from schemas.incidents import Incident, IncidentChange
from schemas.kafka_outputs import MOST_VALUE_BYTES, Output

INCIDENT_TYPE: Final = "sendtrace.incident"
#: CloudEvents wants a source, and an incident may be about more than one.
_OF_ALL: Final = "sendtrace"


def alert_output(change: IncidentChange) -> Output:
    """The record: all changes of one incident have one key, so they stay in order. Raises `RecordError`."""
    incident = change["incident"]
    headers = [
        ("ce_id", change["change_id"].encode()),
        ("ce_specversion", b"1.0"),
        ("ce_type", f"{INCIDENT_TYPE}.{change['change']}".encode()),
        ("ce_source", (incident["source"] or _OF_ALL).encode()),
        ("ce_time", change["at"].encode()),
        ("ce_status", incident["state"].encode()),
        ("severity", incident["severity"].encode()),
        ("content-type", b"application/json"),
    ]
    if (bounce_class := incident["class"]) is not None:
        headers.append(("ce_class", bounce_class.encode()))
    return Output(incident["incident_id"].encode(), _value(incident), headers)


def _value(incident: Incident) -> bytes:
    """Without its samples where a broker would not take it: the tables have them."""
    value = encode(incident)
    return value if len(value) <= MOST_VALUE_BYTES else encode({**incident, "samples": []})
