"""What a provider file makes of a postback: an event in our words, or a refusal with its reason."""

from __future__ import annotations

from typing import NamedTuple

from schemas.personal import PersonalKind
from schemas.rejections import RejectReason


class Event(NamedTuple):
    """One status event, normalized. Times are ISO texts of ours (`schemas.times`), unknown is `None`.

    `provider_status` is the provider's own word, always kept. `scope` identifies a message that has
    neither id. `occurrence` is set only for engagement without id or time: a digest of what was
    said, so that equal postbacks fold within `retry_horizon_ms` and count again after it.
    `identifiers` are further names under which people look a message up (contact and form ids).
    `flags` name what was odd and survived. `personal` are values that must be sealed before they are
    written anywhere.
    """

    status: str
    provider_status: str
    provider_time: str | None
    reason: str | None
    bounce_class: str | None
    channel: str | None
    dispatch_id: str | None
    external_send_id: str | None
    scope: str | None
    campaign_id: str | None
    reference: str | None
    requested_at: str | None
    occurrence: str | None
    retry_horizon_ms: int
    identifiers: tuple[str, ...]
    flags: tuple[str, ...]
    personal: tuple[tuple[PersonalKind, str], ...] = ()


class Rejected(NamedTuple):
    """A body that is not understood: a word from the catalogue and a sentence about this one."""

    reason: RejectReason
    detail: str
