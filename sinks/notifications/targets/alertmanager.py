"""Alertmanager: `POST …/api/v2/alerts`, one alert for each incident, all in one message.

Alertmanager takes an alert for over at its `endsAt`. So one that fires ends an hour from now, and is sent again with
every message and, when there is none, every quarter of an hour: three of those may be lost. One that is over is sent
with the time at which it was.

Its labels are the alert's identity, and severity is one of them: where it may have risen, the alert under each lesser
severity is ended beside it. Alertmanager tells nobody of the end of what it never had.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from schemas.incidents import SEVERITIES, Incident, Severity
from schemas.times import epoch_ms, iso_ms
from sinks.notifications.answers import outcome_of
from sinks.notifications.guarded_http import Request, Transport
from sinks.notifications.planning import Shape
from sinks.notifications.records import Message, Outcome, rank
from sinks.notifications.words import Links, masked, safe, sample_message

SHAPE: Final = Shape(most_lines=500, repeats_firing=True)
PATH: Final = "/api/v2/alerts"
#: Four times `throttle.REFRESH_MS`.
FIRES_FOR_MS: Final = 3_600_000
_MOST_REASON_CHARS: Final = 1_000

Alert = dict[str, object]


class Alertmanager:
    """A `Channel`. `url` is the server's, with or without the path of the API."""

    shape = SHAPE

    def __init__(self, *, url: str, bearer_token: str | None, transport: Transport, links: Links) -> None:
        self._url = url if url.rstrip("/").endswith(PATH) else url.rstrip("/") + PATH
        self._authorization = {} if bearer_token is None else {"Authorization": f"Bearer {bearer_token}"}
        self._transport = transport
        self._links = links

    async def send(self, message: Message, now_ms: int) -> Outcome:
        """See `Channel`."""
        headers = {"Content-Type": "application/json", "User-Agent": "sendtrace"}
        body = orjson.dumps(alerts_of(message, self._links, now_ms))
        request = Request(self._url, body, headers, self._authorization, body_is_secret=False)
        return outcome_of(await self._transport.post(request), now_ms=now_ms)


def alerts_of(message: Message, links: Links, now_ms: int) -> list[Alert]:
    """The body. What fires ends an hour from this attempt."""
    notice = message.notice
    alerts: list[Alert] = []
    for line in notice["lines"]:
        incident = line["incident"]
        is_over = line["word"] == "resolved"
        alerts.append(_alert(incident, links, _end_ms(incident, now_ms) if is_over else now_ms + FIRES_FOR_MS))
        if line["word"] in {"escalated", "resolved"}:
            alerts += _former(incident, links, now_ms)
    alerts += [_alert(incident, links, now_ms + FIRES_FOR_MS) for incident in notice["firing"]]
    if notice["sample"]:
        for alert in alerts:
            alert["labels"] = {**_labels_of(alert), "test": "true"}
    return alerts


def _labels_of(alert: Alert) -> dict[str, str]:
    found = alert["labels"]
    return found if isinstance(found, dict) else {}


def _former(incident: Incident, links: Links, now_ms: int) -> Iterator[Alert]:
    for severity in SEVERITIES[: rank(incident["severity"])]:
        yield _alert({**incident, "severity": severity}, links, _end_ms(incident, now_ms))


def _end_ms(incident: Incident, now_ms: int) -> int:
    over_ms = epoch_ms(incident["resolved_at"]) if incident["resolved_at"] else now_ms
    return max(min(over_ms, now_ms), epoch_ms(incident["opened_at"]) + 1_000)  # an end before the start is refused


def _alert(incident: Incident, links: Links, ends_ms: int) -> Alert:
    sample = sample_message(incident)
    reason = next((each["reason"] for each in incident["samples"] if each["reason"]), None)
    annotations = {
        "summary": safe(incident["title"]),
        "description": f"{incident['count']:,} since {incident['first_seen']}",
        "advice": safe(incident["advice"]),
        "reason": masked(reason or "")[:_MOST_REASON_CHARS],
        "message": "" if sample is None else links.message(sample),
    }
    return {
        "labels": _labels(incident, incident["severity"]),
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": incident["opened_at"],
        "endsAt": iso_ms(ends_ms),
        "generatorURL": links.incident(incident["incident_id"]),
    }


def _labels(incident: Incident, severity: Severity) -> dict[str, str]:
    labels = {
        "alertname": incident["rule"],
        "severity": severity,
        "source": incident["source"],
        "provider": incident["provider"],
        "campaign": incident["campaign_id"],
        "class": incident["class"],
        "domain": incident["domain"],
        "incident_id": incident["incident_id"],
    }
    return {name: value for name, value in labels.items() if value}
