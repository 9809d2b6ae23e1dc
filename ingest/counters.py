"""What the gateway counts, for a metrics collector to read: plain numbers under names fixed at start.

Nothing of a request ever becomes a name here: a guesser must not be able to make series.
For each source accepted = kept + not kept + still in flight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ingest.answers import ANSWERS, KEPT
from ingest.auth import Denial


@dataclass(slots=True)
class SourceCounts:
    """One configured source. `refused` is what was refused after the sender had proved itself."""

    accepted: int = 0
    accepted_bytes: int = 0
    kept: int = 0
    not_kept: int = 0
    refused: int = 0


@dataclass(slots=True)
class Counters:
    """All of the gateway. `refused` is by answer reason, `denied` says why answers were 404.

    `open_connections`, `in_flight_bytes` and `partial_bytes` are gauges, the rest only grows.
    """

    sources: dict[str, SourceCounts]
    open_connections: int = 0
    in_flight_bytes: int = 0
    partial_bytes: int = 0
    refused: dict[str, int] = field(default_factory=lambda: {row.reason: 0 for row in ANSWERS if row is not KEPT})
    denied: dict[Denial, int] = field(default_factory=lambda: dict.fromkeys(Denial, 0))

    @classmethod
    def of(cls, source_names: Iterable[str]) -> Counters:
        """Zeros for these sources, so that every series exists from the start."""
        return cls({name: SourceCounts() for name in source_names})
