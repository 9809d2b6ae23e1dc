"""A stand-in 360NRS: what it posts about one send on one of its six channels, as forms.

Pure, like the stand-in Braze. Fields and events are those of seed 003; the form encoding is that of
the vendor's sample receiver (facts/providers.md §4.2). There is no time and no event id in any of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple
from urllib.parse import urlencode

from sendtrace.sandbox_posting import Posting
from sendtrace.sandbox_texts import ACCEPTED, BOUNCES, CAMPAIGNS, DEFERRALS, UNKNOWN_NRS

FORM: Final = "application/x-www-form-urlencoded"
NAME: Final = "nrs360"

#: Of a thousand sends, how many go by which channel.
CHANNELS: Final = {"mailing": 400, "sms": 360, "landing": 80, "appush": 70, "webpush": 50, "text2speech": 40}
#: Each channel's ways from first to last event, and how often in a hundred. Which events go with which
#: channel is not documented; this is the usual reading.
WAYS: Final[dict[str, dict[tuple[str, ...], int]]] = {
    "mailing": {
        ("sent", "delivered"): 38,
        ("sent", "delivered", "opened"): 22,
        ("sent", "delivered", "opened", "clicked"): 14,
        ("sent", "delivered", "opened", "clicked", "clicked"): 4,
        ("sent", "delivered", "opened", "unsubscribed"): 2,
        ("sent", "delivered", "complaint"): 2,
        ("sent", "soft_bounced", "delivered"): 6,
        ("sent", "soft_bounced", "soft_bounced", "hard_bounced"): 2,
        ("sent", "hard_bounced"): 10,
    },
    "sms": {
        ("sent", "delivered"): 80,
        ("sent", "delivered", "clicked"): 6,
        ("sent", "undelivered"): 7,
        ("rejected",): 3,
        ("sent", "expired"): 3,
        ("sent",): 1,
    },
    "landing": {
        ("form_opened",): 40,
        ("form_opened", "form_submitted"): 40,
        ("form_opened", "form_rejected"): 10,
        ("unsubscribed_landing",): 10,
    },
    "appush": {("sent", "delivered"): 70, ("sent", "delivered", "opened"): 20, ("rejected",): 10},
    "webpush": {("sent", "delivered"): 70, ("sent", "delivered", "clicked"): 20, ("sent", "expired"): 10},
    "text2speech": {("sent", "delivered"): 75, ("sent", "undelivered"): 25},
}
_FROM_THE_WEB: Final = 0.15  # then `id` has no value
_WITHOUT_CAMPAIGN: Final = 0.2  # an API send without campaignName: campaignId 0, campaignName empty
_UNKNOWN_WORD: Final = 0.01
_REPLIES: Final = {"delivered": ACCEPTED, "soft_bounced": DEFERRALS, "hard_bounced": BOUNCES}
_FIRST_CONTACT: Final = 10_000
_CONTACTS: Final = 60_000
_FORMS: Final = (31, 32)


class _Send(NamedTuple):
    """Who a send is for; the fields every one of its notifications repeats."""

    id: str
    channel: str
    contact: int
    campaign: int
    campaign_name: str
    form: int


class NrsSender:
    """Makes the stories of one account."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def story(self, start_s: float, way: Sequence[str] | None = None, *, channel: str | None = None) -> list[Posting]:
        """Everything 360NRS posts about one send made at `start_s`, in the order it happens."""
        random = self._random
        channel = channel or random.choices(list(CHANNELS), list(CHANNELS.values()))[0]
        ways = WAYS[channel]
        events = way or random.choices(list(ways), list(ways.values()))[0]
        send = self._send(channel)
        told, at_s = [], start_s
        for event in events:
            at_s += random.uniform(2, 15) if event in {"opened", "clicked", "complaint"} else random.uniform(0.3, 4)
            said = random.choice(UNKNOWN_NRS) if random.random() < _UNKNOWN_WORD else event
            told.append(Posting(at_s, NAME, FORM, self._body(send, said)))
        return told

    def _send(self, channel: str) -> _Send:
        random = self._random
        contact = _FIRST_CONTACT + random.randrange(_CONTACTS)
        campaign, form = random.choice(CAMPAIGNS), random.choice(_FORMS)
        if random.random() < _FROM_THE_WEB:
            return _Send("", channel, contact, campaign.number, campaign.name, form)
        identity = f"{random.getrandbits(56):014x}"
        if random.random() < _WITHOUT_CAMPAIGN:
            return _Send(identity, channel, contact, 0, "", form)
        return _Send(identity, channel, contact, campaign.number, campaign.name, form)

    def _body(self, send: _Send, event: str) -> bytes:
        fields = {
            "id": send.id,
            "channel": send.channel,
            "event": event,
            "contactId": str(send.contact),
            "campaignId": str(send.campaign),
            "campaignName": send.campaign_name,
        }
        if event.startswith("form_"):
            fields["formId"] = str(send.form)
        if event == "form_submitted":
            values = {"talla": self._random.choice("SML"), "comentario": "¿Cuándo llega?"}
            fields["extra"] = json.dumps({"formValues": values}, ensure_ascii=False)
        if send.channel == "mailing" and event in _REPLIES:
            fields["smtpResponse"] = self._random.choice(_REPLIES[event])
        return urlencode(fields).encode("ascii")


def broken(random: Random, start_s: float) -> Posting:
    """A body that arrives on the notification's URL and is none."""
    body = random.choice(
        (
            b"",
            b"id=&channel=sms&event=delivered&contactId=&campaignId=0&campaignName=",
            b"id=a1b2c3&channel=sms&contactId=8842",
            b"hello",
        )
    )
    return Posting(start_s, NAME, FORM, body)
