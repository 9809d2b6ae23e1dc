"""Braze: the transactional HTTP event postback, JSON, one object a request.

Understands the five statuses of the documented table and keeps any other word as unknown. Refuses
Braze's other feeds, which share the dashboard and sometimes the URL: they have pages of their own.
Seeds 000 and 001 (tracking pages), 002 (send endpoint); facts/providers.md §1.
"""

from __future__ import annotations

from typing import Final

from processors.bodies import Fields
from processors.personal import personal_of
from processors.provider_times import read_time
from processors.providers.contract import (
    AuthOption,
    Classify,
    ClockRule,
    Format,
    Provider,
    bounded,
    section,
    text,
)
from schemas.event import Event, Rejected
from schemas.personal import NAMES
from schemas.postback import Postback
from schemas.rejections import RejectReason
from schemas.statuses import UNKNOWN

_CHANNEL: Final = "email"
#: Every event has its provider's time, so a repeat shows by itself and no occurrence is ever needed.
_RETRY_HORIZON_MS: Final = 0

#: The table of the Japanese page (seed 002); the other translations lost it.
_STATUSES: Final = {
    "sent": "sent",
    "processed": "processed",
    "aborted": "aborted",
    "delivered": "delivered",
    "bounced": "bounced",
}
#: The time of a status is in `<status>_at`. The field table puts `delivered_at` with "processed", the
#: example with "delivered"; the example is what is sent, so the table's reading is only a fallback.
_TIME_FIELD: Final = {status: f"{status}_at" for status in _STATUSES}
_MISPLACED_TIME_FIELD: Final = {"processed": "delivered_at"}
#: Steps before the hand-over. Only `received_at` has a column; the others are checked and stay in the raw body.
_EARLIER_STEPS: Final = ("enqueued_at", "executed_at")
_CLASSED: Final = frozenset({"aborted", "bounced"})
#: No page names a personal field, so that one is looked for as quickly as can be.
_PERSONAL: Final = frozenset(NAMES)

#: What other bodies of Braze's have and a postback lacks (facts/providers.md §1.6, §2, §3), most telling first.
_OTHER_FEEDS: Final = (
    (frozenset({"events"}), "a Currents batch or a /users/track request"),
    (frozenset({"recipient"}), "a request to the transactional send API"),
    (frozenset({"trigger_properties"}), "a request to the transactional send API"),
    (frozenset({"text", "data"}), "a campaign alert webhook"),
    (frozenset({"users", "message"}), "an answer of /users/track/sync"),
    (frozenset({"attributes"}), "a /users/track request"),
    (frozenset({"purchases"}), "a /users/track request"),
    (frozenset({"event", "contactId"}), "a 360NRS notification"),
    (frozenset({"event_type"}), "a single Currents event"),
    (frozenset({"message"}), "an answer of the Braze API"),
)

#: What `Event(...)` does, without its Python-level `__new__`: a tenth of a microsecond each.
_event: Final = tuple.__new__


def read(postback: Postback, fields: Fields, flags: tuple[str, ...], classify: Classify, /) -> Event | Rejected:
    """The event of one postback. Flat and positional: this runs for every postback there is."""
    metadata = fields.get("metadata")
    if type(metadata) is not dict:
        metadata = section(metadata, "metadata")
    get = metadata.get
    word, dispatch_id, external_send_id = fields.get("status"), fields.get("dispatch_id"), get("external_send_id")
    campaign_id, reason = get("campaign_api_id"), get("reason")
    if not (type(word) is type(dispatch_id) is type(external_send_id) is type(campaign_id) is str):
        word, dispatch_id = text(word, "status"), text(dispatch_id, "dispatch_id")
        external_send_id = text(external_send_id, "metadata.external_send_id")
        campaign_id = text(campaign_id, "metadata.campaign_api_id")
    if not word or not (dispatch_id or external_send_id):
        return _nothing_to_tell(fields, word)
    status = _STATUSES.get(word) or _STATUSES.get(word.strip().lower(), UNKNOWN)
    if reason is not None or status == UNKNOWN:
        if word.isspace():
            return _nothing_to_tell(fields, None)
        word, reason, flags = bounded(word, text(reason, "metadata.reason"), flags)
    provider_time, requested_at, flags = _times(metadata, status, word, postback.received_ms, flags)
    return _event(
        Event,
        (
            status,
            word,
            provider_time,
            reason,
            classify(status, word, reason) if status in _CLASSED else None,
            _CHANNEL,
            dispatch_id or None,
            external_send_id or None,
            None,  # scope: one of the two ids is always there
            campaign_id or None,
            external_send_id or None,  # reference: the sender's own id
            requested_at,
            None,  # occurrence: Braze tells times
            _RETRY_HORIZON_MS,
            (),
            flags,
            ()
            if _PERSONAL.isdisjoint(metadata) and _PERSONAL.isdisjoint(fields)
            else personal_of(NAMES, fields, metadata),
        ),
    )


def _times(
    metadata: Fields, status: str, word: str, received_ms: int, flags: tuple[str, ...]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The time of the event, when Braze got the request, and the flags with what was odd about any time."""
    said = metadata.get(_TIME_FIELD.get(status) or f"{word.strip().lower()}_at")
    if (said is None or said == "") and status in _MISPLACED_TIME_FIELD:
        said = metadata.get(_MISPLACED_TIME_FIELD[status])
    provider_time, odd = read_time(said, received_ms)
    if odd:
        flags = _flagged(flags, "provider_time", odd)
    if "received_at" not in metadata:
        return provider_time, None, flags
    said = metadata["received_at"]
    requested_at, odd = read_time(said, received_ms)
    flags = _flagged(flags, "requested_at", odd) if odd else flags
    for step in _EARLIER_STEPS:
        if metadata.get(step, said) != said:  # usually the same second, so the same text
            _, odd = read_time(metadata[step], received_ms)
            flags = _flagged(flags, step, odd) if odd else flags
    return provider_time, requested_at, flags


def _flagged(flags: tuple[str, ...], field: str, odd: tuple[str, ...]) -> tuple[str, ...]:
    return (*flags, *(f"{field}_{word}" for word in odd))


def _nothing_to_tell(fields: Fields, word: str | None) -> Rejected:
    """Why a body without status or identity is no postback; another feed is named where it shows."""
    for names, feed in _OTHER_FEEDS:
        if names <= fields.keys():
            return Rejected(RejectReason.OTHER_FEED, f"This looks like {feed}, not like a transactional postback.")
    if not word:
        return Rejected(RejectReason.NO_STATUS, "The field status is missing, null or empty.")
    return Rejected(
        RejectReason.NO_IDENTITY, "Both dispatch_id and metadata.external_send_id are missing, null or empty."
    )


PROVIDER: Final = Provider(
    name="braze",
    title="Braze transactional email",
    channels=(_CHANNEL,),
    statuses=_STATUSES,
    formats=(Format.JSON,),
    identity=("dispatch_id", "metadata.external_send_id"),
    clock=ClockRule.PROVIDER,
    reply_code=200,
    retry_horizon_ms=_RETRY_HORIZON_MS,
    auth=(AuthOption.PATH_TOKEN, AuthOption.BASIC, AuthOption.ALLOW_ADDRESSES),
    documents=(
        "seed 000: transactional email tracking (Spanish): set-up, fields, five examples",
        "seed 001: transactional email tracking (Korean): the same",
        "seed 002: send transactional email (Japanese): the status table, the send API",
    ),
    notes=(
        "No retry, order, signature, method or content type of a postback is documented.",
        "dispatch_id may be shared and external_send_id may return after 24 hours: neither alone is a message.",
        "A soft bounce may be tried for 72 hours, so a message can stay at processed that long.",
        "The published sender addresses are those of the webhook channel; that they cover postbacks is not said.",
    ),
    read=read,
    personal=NAMES,
)
