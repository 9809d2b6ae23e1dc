"""A webhook signed by Standard Webhooks: id, time and body under one HMAC, a signature for each valid secret.

`webhook-id` is the message's id, so a receiver that has seen it may throw a repeat away. The body is the notice as
records, with the same text people get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from schemas.times import iso_ms
from sinks.notifications.answers import outcome_of
from sinks.notifications.guarded_http import Request, Transport
from sinks.notifications.planning import Shape
from sinks.notifications.records import Line, Message, Outcome
from sinks.notifications.words import Links, line_text, masked_incident, sample_message, text_of

SHAPE: Final = Shape(most_lines=10, counts_rest=True, tells_passed=True)
_TYPE: Final = "incidents.changed"
_MOST_SAMPLES: Final = 3  # the form asks for less than 20 KB


class Webhook:
    """A `Channel`. `secrets` are as the settings have them: `whsec_` and base64."""

    shape = SHAPE

    def __init__(
        self, *, url: str, secrets: Sequence[str], bearer_token: str | None, transport: Transport, links: Links
    ) -> None:
        self._url = url
        self._secrets = secrets
        self._authorization = {} if bearer_token is None else {"Authorization": f"Bearer {bearer_token}"}
        self._transport = transport
        self._links = links

    async def send(self, message: Message, now_ms: int) -> Outcome:
        """See `Channel`."""
        body = body_of(message, self._links)
        headers = {"Content-Type": "application/json", "User-Agent": "sendtrace"}
        signed = {**headers, **signed_headers(message.message_id, body, now_ms, self._secrets)}
        request = Request(self._url, body, signed, self._authorization, body_is_secret=False)
        return outcome_of(await self._transport.post(request), now_ms=now_ms)


def body_of(message: Message, links: Links) -> bytes:
    """The body, the same at every attempt."""
    notice = message.notice
    text = text_of(notice, links)
    data: dict[str, object] = {
        "title": text.title,
        "text": text.body,
        "changes": [_change(line, links) for line in notice["lines"]],
        "more": notice["more"],
        "incidents_url": links.incidents(),
        "test": notice["sample"],
    }
    return orjson.dumps({"type": _TYPE, "timestamp": iso_ms(message.made_ms), "data": data})


def signed_headers(message_id: str, body: bytes, now_ms: int, secrets: Sequence[str]) -> Mapping[str, str]:
    """The three headers; without secrets the first two."""
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(now_ms // 1000)}
    if not secrets:
        return headers
    from standardwebhooks import Webhook as Signer  # noqa: PLC0415  for those who have a webhook

    signatures = [Signer(secret).sign(message_id, at, body.decode()) for secret in secrets]
    return {**headers, "webhook-signature": " ".join(signatures)}


def _change(line: Line, links: Links) -> dict[str, object]:
    incident = masked_incident(line["incident"])
    sample = sample_message(incident)
    return {
        "change": line["word"],
        "change_id": line["change_id"],
        "text": line_text(line, links),
        "incident": {**incident, "samples": incident["samples"][:_MOST_SAMPLES]},
        "incident_url": links.incident(incident["incident_id"]),
        "message_url": None if sample is None else links.message(sample),
    }
