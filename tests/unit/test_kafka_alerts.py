"""Changes of incidents as records of topic `alerts`."""

from __future__ import annotations

from schemas.codec import decode
from schemas.incidents import Incident, IncidentChange
from schemas.kafka_alerts import alert_output
from schemas.kafka_outputs import MOST_VALUE_BYTES

AT = "2026-11-21T10:00:00.000Z"
INCIDENT: Incident = {
    "incident_id": "i1",
    "rule": "abort_template",
    "kind": "count",
    "severity": "error",
    "state": "open",
    "source": "braze",
    "provider": "braze",
    "campaign_id": "c1",
    "class": "abort_template_error",
    "domain": None,
    "count": 3,
    "total": None,
    "first_seen": AT,
    "last_seen": AT,
    "opened_at": AT,
    "resolved_at": None,
    "title": "Aborts",
    "advice": "Mend the template.",
    "samples": [{"message_id": "m", "receipt_id": "r", "received_at": AT, "status": "aborted", "reason": "x"}],
    "silenced_until": None,
    "acknowledged_at": None,
}
CHANGE: IncidentChange = {"change_id": "c-1", "change": "opened", "at": AT, "incident": INCIDENT}


def test_the_value_is_the_incident_and_the_headers_say_what_happened() -> None:
    output = alert_output(CHANGE)

    assert output.key == b"i1"
    assert decode(Incident, output.value) == INCIDENT
    assert dict(output.headers) == {
        "ce_id": b"c-1",
        "ce_specversion": b"1.0",
        "ce_type": b"sendtrace.incident.opened",
        "ce_source": b"braze",
        "ce_time": AT.encode(),
        "ce_status": b"open",
        "ce_class": b"abort_template_error",
        "severity": b"error",
        "content-type": b"application/json",
    }


def test_what_is_not_known_is_no_header_but_the_source_is_always_there() -> None:
    everywhere: Incident = {**INCIDENT, "source": None, "class": None}
    headers = dict(alert_output({**CHANGE, "incident": everywhere}).headers)

    assert "ce_class" not in headers
    assert headers["ce_source"] == b"sendtrace"


def test_one_that_no_broker_would_take_goes_without_its_samples() -> None:
    (sample,) = INCIDENT["samples"]
    large: Incident = {**INCIDENT, "samples": [{**sample, "reason": "x" * MOST_VALUE_BYTES}]}

    assert decode(Incident, alert_output({**CHANGE, "incident": large}).value)["samples"] == []
