"""PagerDuty Events v2: an event for each incident, all of one incident under its id as `dedup_key`.

The last message that may leave in a while stands for all that wait: an alert of its own, ended once everything it
stood for is over. The key is in the body, so no redirect to another host is followed.
"""

from __future__ import annotations

from typing import Final

import orjson

from schemas.incidents import Incident, Severity
from sinks.notifications.answers import outcome_of
from sinks.notifications.guarded_http import Request, Transport
from sinks.notifications.planning import Shape
from sinks.notifications.records import Line, Message, Notice, Outcome, rank
from sinks.notifications.words import SAMPLE_MARK, Links, headline, masked, more_text, safe, sample_message, text_of

SHAPE: Final = Shape(most_lines=1)
URL: Final = "https://events.pagerduty.com/v2/enqueue"
_MOST_SUMMARY_CHARS: Final = 1_024
_MOST_DETAIL_CHARS: Final = 8_000
#: It has answered 403, too, when there were too many events at a time.
_BUSY: Final = frozenset({403})

Event = dict[str, object]


class PagerDuty:
    """A `Channel`. `name` is the target's, and part of the key of what was only counted."""

    shape = SHAPE

    def __init__(self, *, name: str, url: str, routing_key: str, transport: Transport, links: Links) -> None:
        self._name = name
        self._url = url
        self._routing_key = routing_key
        self._transport = transport
        self._links = links

    async def send(self, message: Message, now_ms: int) -> Outcome:
        """See `Channel`."""
        event = {"routing_key": self._routing_key, **event_of(message, self._links)}
        headers = {"Content-Type": "application/json", "User-Agent": "sendtrace"}
        request = Request(self._url, orjson.dumps(event), headers, {}, body_is_secret=True)
        return outcome_of(await self._transport.post(request), now_ms=now_ms, also_again=_BUSY)


def event_of(message: Message, links: Links) -> Event:
    """The body, without the key of the account."""
    notice = message.notice
    if notice["digest"] is not None:
        return _digest(message, links)
    line = notice["lines"][0]
    incident = line["incident"]
    if line["word"] == "resolved":
        return {"event_action": "resolve", "dedup_key": incident["incident_id"]}
    mark = f"{SAMPLE_MARK}: " if notice["sample"] else ""
    payload = {
        "summary": (mark + headline(line))[:_MOST_SUMMARY_CHARS],
        "source": incident["source"] or "sendtrace",
        "severity": incident["severity"],
        "timestamp": incident["opened_at"],
        "component": incident["campaign_id"],
        "group": incident["rule"],
        "class": incident["class"],
        "custom_details": _details(incident),
    }
    return {
        "event_action": "trigger",
        "dedup_key": incident["incident_id"],
        "client": "sendtrace",
        "client_url": links.incident(incident["incident_id"]),
        "links": _links(incident, links),
        "payload": {name: value for name, value in payload.items() if value is not None},
    }


def _digest(message: Message, links: Links) -> Event:
    notice = message.notice
    key = f"sendtrace-{message.target}-more"
    if notice["digest"] == "resolve":
        return {"event_action": "resolve", "dedup_key": key}
    text = text_of(notice, links)
    payload = {
        "summary": f"{_how_many(notice)} more incidents, not told one by one; {text.title}"[:_MOST_SUMMARY_CHARS],
        "source": "sendtrace",
        "severity": _worst(notice["lines"]),
        "custom_details": {"incidents": text.body[:_MOST_DETAIL_CHARS], "others": more_text(notice)},
    }
    return {
        "event_action": "trigger",
        "dedup_key": key,
        "client": "sendtrace",
        "client_url": links.incidents(),
        "links": [{"href": links.incidents(), "text": "Incidents"}],
        "payload": payload,
    }


def _how_many(notice: Notice) -> int:
    return len(notice["lines"]) + sum(notice["more"].values())


def _worst(lines: list[Line]) -> Severity:
    return max((line["incident"]["severity"] for line in lines), key=rank)


def _details(incident: Incident) -> dict[str, object]:
    reason = next((sample["reason"] for sample in incident["samples"] if sample["reason"]), None)
    return {
        "count": incident["count"],
        "total": incident["total"],
        "first_seen": incident["first_seen"],
        "last_seen": incident["last_seen"],
        "domain": incident["domain"],
        "provider_said": None if reason is None else masked(reason)[:_MOST_DETAIL_CHARS],
        "what_to_do": safe(incident["advice"]),
    }


def _links(incident: Incident, links: Links) -> list[dict[str, str]]:
    found = [{"href": links.incident(incident["incident_id"]), "text": "Incident"}]
    if (sample := sample_message(incident)) is not None:
        found.append({"href": links.message(sample), "text": "One of the messages"})
    return found
