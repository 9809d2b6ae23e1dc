"""Which message a postback belongs to, and where it is handled (design §5, Identity).

A message is (source, dispatch_id, external_send_id). One `dispatch_id` may be shared by several
users and one `external_send_id` may own several dispatches after 24 hours
(facts/providers.md §1.5), so neither alone is a message. `scope` stands in where a provider gives
neither: 360NRS web sends have campaign, contact and channel, or only the body itself.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

KEY_MAX_CHARS: Final = 512


def _part(value: str | None) -> str:
    return "-" if value is None else f"{len(value)}:{value}"


def message_id(source: str, dispatch_id: str | None, external_send_id: str | None, scope: str | None = None) -> str:
    """32 hex digits made of the identity alone. Lengths are hashed too, so no two identities run together."""
    if dispatch_id is not None and external_send_id is not None and scope is None:  # nearly always: the same, straight
        text = f"{len(source)}:{source}{len(dispatch_id)}:{dispatch_id}{len(external_send_id)}:{external_send_id}-"
    else:
        text = f"{_part(source)}{_part(dispatch_id)}{_part(external_send_id)}{_part(scope)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def message_key(source: str, dispatch_id: str | None, external_send_id: str | None, scope: str | None = None) -> str:
    """The partition key: all postbacks that could be about one dispatch are handled in order, in one place.

    An identity that is longer than any real one is put in by its digest: a key must fit into a record.
    """
    identity = dispatch_id or external_send_id or scope or ""
    if len(identity) > KEY_MAX_CHARS:
        identity = f"#{body_digest(identity.encode('utf-8', 'surrogatepass'))}"
    return f"{source}/{identity}"


def campaign_key(source: str, campaign_id: str | None) -> str:
    """The key of what is told by campaign: all of one campaign of a source is in order, in one place."""
    campaign = campaign_id or ""
    if len(campaign) > KEY_MAX_CHARS:
        campaign = f"#{body_digest(campaign.encode('utf-8', 'surrogatepass'))}"
    return f"{source}/{campaign}"


def fact_id(
    status: str, provider_status: str, provider_time: str | None, reason: str | None, occurrence: str | None = None
) -> str:
    """16 hex digits of a fact: (status, provider's word, provider time, reason), and nothing else.

    `occurrence` tells apart engagement that comes without id or time (a second click).
    """
    text = f"{status} {_part(provider_status)}{provider_time}{_part(reason)}{_part(occurrence)}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def body_digest(body: bytes) -> str:
    """16 hex digits of exact bytes: the identity of a postback that names nothing else."""
    return blake2b(body, digest_size=8).hexdigest()
