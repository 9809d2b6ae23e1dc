"""360NRS: status notifications v1.2, one event a request, on six channels.

The page names no content type; the vendor's own sample receiver takes a form, so forms, multipart and
JSON are all read. Events have no id, no time and no address, so two equal clicks can only be told from
a retry by when they came. Seed 003; facts/providers.md §4.
"""

from __future__ import annotations

from typing import Final

import orjson

from processors.bodies import Fields, NumberText
from processors.personal import personal_of
from processors.providers.contract import (
    WORD_MAX_CHARS,
    AuthOption,
    Classify,
    ClockRule,
    Format,
    Provider,
    bounded,
    text,
    whole,
)
from schemas.event import Event, Rejected
from schemas.identity import body_digest
from schemas.personal import NAMES, PersonalKind
from schemas.postback import Postback
from schemas.rejections import RejectReason
from schemas.statuses import ENGAGEMENT_WORDS, FAILURE_WORDS, UNKNOWN

EXTRA_UNREADABLE: Final = "extra_unreadable"
CHANNEL_UNKNOWN: Final = "channel_unknown"

_STATUSES: Final = {
    "sent": "sent",
    "delivered": "delivered",
    "soft_bounced": "deferred",  # a temporary refusal: calling it a failure would start a fallback too early
    "hard_bounced": "bounced",
    "undelivered": "undelivered",
    "rejected": "rejected",
    "expired": "expired",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
    "unsubscribed_landing": "unsubscribed",
    "complaint": "complained",
    "form_opened": "form_opened",
    "form_submitted": "form_submitted",
    "form_rejected": "form_rejected",
}
_CHANNELS: Final = ("sms", "mailing", "landing", "text2speech", "appush", "webpush")
_CLASSED: Final = FAILURE_WORDS | {"deferred"}

#: Five retries after 1, 2, 3, 4 and 5 more minutes make 15 (seed 003, last paragraph); the rest is for
#: slow answers and for their queue, which the seed says runs late under load.
_RETRY_HORIZON_MS: Final = 20 * 60 * 1000


def read(postback: Postback, fields: Fields, flags: tuple[str, ...], classify: Classify) -> Event | Rejected:
    """The event of one notification."""
    get = fields.get
    word = text(get("event"), "event")
    if not word or word.isspace():
        return _no_event(fields)
    message = text(get("id"), "id")
    campaign, contact = whole(get("campaignId"), "campaignId"), whole(get("contactId"), "contactId")
    if not (message or campaign or contact):
        return Rejected(RejectReason.NO_IDENTITY, "None of id, campaignId and contactId says which message this is.")
    status = _STATUSES.get(word) or _STATUSES.get(word.strip().lower(), UNKNOWN)
    channel, reason = text(get("channel"), "channel"), text(get("smtpResponse"), "smtpResponse")
    flags = (*flags, *_oddities(channel, get("extra")))
    word, reason, flags = bounded(word, reason, flags)
    form = whole(get("formId"), "formId")
    return Event(
        status=status,
        provider_status=word,
        provider_time=None,
        reason=reason,
        bounce_class=classify(status, word, reason) if status in _CLASSED else None,
        channel=channel[:WORD_MAX_CHARS] if channel else None,
        dispatch_id=message,
        external_send_id=None,
        scope=None if message else _scope(postback, campaign, contact, channel),
        campaign_id=campaign,
        reference=None,
        requested_at=None,
        occurrence=_occurrence(fields) if status in ENGAGEMENT_WORDS else None,
        retry_horizon_ms=_RETRY_HORIZON_MS,
        identifiers=tuple(name for name in (contact, form) if name),
        flags=flags,
        personal=_personal(fields),
    )


def _personal(fields: Fields) -> tuple[tuple[PersonalKind, str], ...]:
    """The contact, and what somebody wrote into a form: `extra` holds `{"formValues": {name: value}}` (seed 003)."""
    extra = fields.get("extra")
    if not extra:
        return personal_of(NAMES, fields)
    if isinstance(extra, str):
        try:
            extra = orjson.loads(extra)
        except orjson.JSONDecodeError:
            return personal_of(NAMES, fields)
    values = extra.get("formValues") if isinstance(extra, dict) else None
    return personal_of(NAMES, fields, values if isinstance(values, dict) else {})


def _scope(postback: Postback, campaign: str | None, contact: str | None, channel: str | None) -> str:
    """Which message it is when there is no id (a send from the web page).

    One contact gets one message a campaign and channel. Without a campaign nothing ties two events
    together, so the exact body stands for itself: two sends are never merged by guess.
    """
    if campaign and contact:
        return "/".join(_escaped(part) for part in (campaign, contact, channel or "-"))
    return body_digest(postback.body)


def _escaped(part: str) -> str:
    """A form may hold any text, so a slash inside a part must not read as the end of it."""
    return part.replace("%", "%25").replace("/", "%2F")


def _oddities(channel: str | None, extra: object) -> tuple[str, ...]:
    found = []
    if channel and channel.strip().lower() not in _CHANNELS:
        found.append(CHANNEL_UNKNOWN)
    if extra is not None and extra != "" and not _is_readable(extra):
        found.append(EXTRA_UNREADABLE)
    return tuple(found)


def _is_readable(extra: object) -> bool:
    """`extra` is documented as a text that holds a JSON object; in a JSON body it may be the object itself."""
    if isinstance(extra, str):
        try:
            extra = orjson.loads(extra)
        except orjson.JSONDecodeError:
            return False
    return isinstance(extra, dict)


def _occurrence(fields: Fields) -> str:
    """A digest of what was said, the same for every order, boundary and content type of the same fields."""
    said = sorted((name, _plain(value)) for name, value in fields.items() if value is not None and value != "")
    return body_digest(orjson.dumps(said))


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, NumberText):
        return value.text
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=_written).decode()


def _written(value: object) -> str:
    """Numbers as written, also deep inside a body that was read again for their digits."""
    if isinstance(value, NumberText):
        return value.text
    raise TypeError(type(value).__name__)


def _no_event(fields: Fields) -> Rejected:
    if "dispatch_id" in fields or "metadata" in fields:
        return Rejected(RejectReason.OTHER_FEED, "This looks like a Braze postback, not like a 360NRS notification.")
    return Rejected(RejectReason.NO_STATUS, "The field event is missing, null or empty.")


PROVIDER: Final = Provider(
    name="nrs360",
    title="360NRS status notifications",
    channels=_CHANNELS,
    statuses=_STATUSES,
    formats=(Format.FORM, Format.JSON, Format.MULTIPART),
    identity=("id", "campaignId", "contactId", "channel"),
    clock=ClockRule.RECEIPT,
    reply_code=200,
    retry_horizon_ms=_RETRY_HORIZON_MS,
    auth=(AuthOption.PATH_TOKEN, AuthOption.BASIC, AuthOption.ALLOW_ADDRESSES),
    documents=("seed 003: status notifications v1.2, 5 February 2019 (Spanish): fields, events, retries",),
    notes=(
        "Any answer but exactly 200 is retried: five times, after 1, 2, 3, 4 and 5 minutes.",
        "Which events go with which channel, and what undelivered, rejected and expired mean, is not said.",
        "id is empty for sends from the web page; campaignId is 0 for API sends without a campaign name.",
    ),
    read=read,
    personal=NAMES,
)
