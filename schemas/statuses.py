"""The status words: what each one means, which axis it lies on and how it ranks.

One table, used by the lifecycle, the tables, the documentation and the tests. The words and their
ranks are design §5; what a provider calls them is in its own file under `processors/providers/`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Axis(StrEnum):
    """Where a status lies: on the way to the inbox, on what the person did, or nowhere we know."""

    DELIVERY = "delivery"
    ENGAGEMENT = "engagement"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What became of a message so far."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class StatusWord(NamedTuple):
    """One row of the status table.

    `rank` orders the delivery axis (higher decides), `arrived` is true for engagement that only a
    message that did arrive can show, `source` says which document or rule the word comes from.
    """

    word: str
    axis: Axis
    rank: int
    outcome: Outcome
    arrived: bool
    meaning: str
    source: str


_D, _E = Axis.DELIVERY, Axis.ENGAGEMENT
_PENDING, _DELIVERED, _FAILED = Outcome.PENDING, Outcome.DELIVERED, Outcome.FAILED

#: In the order of design §5: among facts of equal rank and time, the later word of this list decides.
STATUSES: Final[tuple[StatusWord, ...]] = (
    StatusWord("requested", _D, 0, _PENDING, False, "a sender asked for the message", "design §5, sends"),
    StatusWord("sent", _D, 1, _PENDING, False, "handed to the sending partner", "Braze and 360NRS seeds"),
    StatusWord("processed", _D, 2, _PENDING, False, "the sending partner prepared it", "Braze seeds"),
    StatusWord("deferred", _D, 3, _PENDING, False, "refused for now, still being tried", "360NRS soft_bounced"),
    StatusWord("delivered", _D, 4, _DELIVERED, False, "accepted by the inbox provider or operator", "both seeds"),
    StatusWord("undelivered", _D, 5, _FAILED, False, "the operator gave up", "360NRS seed"),
    StatusWord("expired", _D, 5, _FAILED, False, "its validity ran out before delivery", "360NRS seed"),
    StatusWord("rejected", _D, 5, _FAILED, False, "refused before it was sent", "360NRS seed"),
    StatusWord("aborted", _D, 5, _FAILED, False, "the provider never dispatched it", "Braze seeds"),
    StatusWord("bounced", _D, 5, _FAILED, False, "refused by the inbox provider", "both seeds"),
    StatusWord("opened", _E, -1, _DELIVERED, True, "the person opened it", "360NRS seed"),
    StatusWord("clicked", _E, -1, _DELIVERED, True, "the person followed a link", "360NRS seed"),
    StatusWord("unsubscribed", _E, -1, _DELIVERED, True, "the person unsubscribed", "360NRS seed"),
    StatusWord("complained", _E, -1, _DELIVERED, True, "the person reported it as spam", "360NRS complaint"),
    StatusWord("form_opened", _E, -1, _PENDING, False, "a landing form was opened", "360NRS seed v1.1"),
    StatusWord("form_submitted", _E, -1, _PENDING, False, "a landing form was sent in", "360NRS seed v1.1"),
    StatusWord("form_rejected", _E, -1, _PENDING, False, "a landing form was refused", "360NRS seed v1.1"),
    StatusWord("unknown", Axis.UNKNOWN, -1, _PENDING, False, "a word we do not know, kept as it came", "design §2.4"),
)

STATUS: Final[dict[str, StatusWord]] = {row.word: row for row in STATUSES}
UNKNOWN: Final = "unknown"
DELIVERED: Final = "delivered"

#: Position in the table, the tie-break after rank and time.
ORDER: Final[dict[str, int]] = {row.word: place for place, row in enumerate(STATUSES)}
RANK: Final[dict[str, int]] = {row.word: row.rank for row in STATUSES}
OUTCOME: Final[dict[str, str]] = {row.word: row.outcome.value for row in STATUSES}

DELIVERY_WORDS: Final = frozenset(row.word for row in STATUSES if row.axis is Axis.DELIVERY)
ENGAGEMENT_WORDS: Final = frozenset(row.word for row in STATUSES if row.axis is Axis.ENGAGEMENT)
ARRIVAL_WORDS: Final = frozenset(row.word for row in STATUSES if row.arrived)
FAILURE_WORDS: Final = frozenset(row.word for row in STATUSES if row.outcome is Outcome.FAILED)
