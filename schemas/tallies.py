"""What happened, in counts: topic `tallies`, for whoever watches rates without reading every postback.

Counts add up: over all tallies of a campaign, `counts` is how many of its messages came to each status,
and how often each engagement or unknown word was told. Repeats of a postback are in `postbacks` only.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import orjson
from pydantic import with_config
from typing_extensions import TypedDict

from schemas.records import STRICT

#: A tally speaks of postbacks received within so many seconds, counted from the full minute.
BUCKET_S: Final = 10
#: Of each word that somebody may want to look at, so many examples go with a tally.
MOST_SAMPLES: Final = 3


@with_config(STRICT)
class TallySample(TypedDict):
    """One of the postbacks counted: `word` is a status of `counts` or a reason of `dead`.

    `message_id` is `None` for a dead letter. `told` is the provider's own word, or the detail of a dead letter.
    """

    word: str
    message_id: str | None
    receipt_id: str
    received_at: str
    told: str


@with_config(STRICT)
class Tally(TypedDict):
    """Postbacks of one source, channel and campaign in one handled batch, received within `BUCKET_S` seconds.

    `counts`: status → messages that came to it (delivery axis) or facts told (engagement, unknown).
    `reversed`: messages among the failed of `counts` that had been delivered before. `dead`: reason → bodies.
    `samples` has up to `MOST_SAMPLES` of each complaint, unknown word and dead letter reason.
    """

    tally_id: str
    source: str
    provider: str
    channel: str | None
    campaign_id: str | None
    bucket_at: str
    first_received_at: str
    last_received_at: str
    postbacks: int
    counts: dict[str, int]
    reversed: int
    dead: dict[str, int]
    samples: list[TallySample]


def bucket_of(iso: str) -> str:
    """When the bucket began in which a time of ours lies: `…T18:58:42.123Z` → `…T18:58:40.000Z`."""
    return iso[:18] + "0.000Z"


def tally_id(tally: Tally, first_receipt_id: str) -> str:
    """32 hex digits of what it says and of the first postback it speaks of: a batch done again makes the same ids."""
    said = orjson.dumps([first_receipt_id, tally], option=orjson.OPT_SORT_KEYS)
    return blake2b(said, digest_size=16).hexdigest()
