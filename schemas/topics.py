"""The catalogue of topics (design §3): name, key, value, policy. Names carry the prefix of the settings."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

DEFAULT_PREFIX: Final = "sendtrace."


class Cleanup(StrEnum):
    """Kafka's `cleanup.policy`."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_DELETE = "compact,delete"


class Topic(NamedTuple):
    """One row of the catalogue; `retention_days` is `None` where compaction alone decides."""

    name: str
    key: str
    value: str
    cleanup: Cleanup
    retention_days: int | None


RAW: Final = Topic("raw", "message key", "exact body bytes", Cleanup.DELETE, 30)
TRANSITIONS: Final = Topic("transitions", "message key", "Transition", Cleanup.DELETE, 30)
STATUS: Final = Topic("status", "message id", "StatusRecord", Cleanup.COMPACT, None)
REFERENCES: Final = Topic("references", "reference", "what a transition means for a reference", Cleanup.DELETE, 7)
JOURNEYS: Final = Topic("journeys", "reference", "JourneyStatus", Cleanup.COMPACT, None)
FALLBACKS: Final = Topic("fallbacks", "reference", "FallbackRequested, FallbackWithdrawn", Cleanup.DELETE, 30)
FAILURES: Final = Topic("failures", "source + campaign", "Transition", Cleanup.DELETE, 30)
TALLIES: Final = Topic("tallies", "source + campaign", "Tally", Cleanup.DELETE, 2)
ALERTS: Final = Topic("alerts", "incident id", "Incident", Cleanup.COMPACT_DELETE, 30)
DEAD: Final = Topic("dead", "source", "exact bytes", Cleanup.DELETE, 90)
#: Not in design §3: what the tables need of postbacks that changed nothing (docs/decisions/0008).
RECEIPTS: Final = Topic("receipts", "none", "ReceiptsRecord", Cleanup.DELETE, 30)

TOPICS: Final = (RAW, TRANSITIONS, STATUS, REFERENCES, JOURNEYS, FALLBACKS, FAILURES, TALLIES, ALERTS, DEAD, RECEIPTS)

#: What has a writer today, and so what `sendtrace topics create` makes; the others come with what writes them.
IN_USE: Final = (RAW, TRANSITIONS, STATUS, FAILURES, TALLIES, ALERTS, DEAD, RECEIPTS)
#: Partition n of one belongs to partition n of the others, so their numbers must be equal.
BY_MESSAGE: Final = frozenset({RAW, TRANSITIONS, STATUS, RECEIPTS})
