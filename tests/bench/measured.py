"""What all benchmarks share: how much is asked of them, and how several rounds become one figure."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

#: A JSON object.
Result = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how often. `directory` is empty and on the disk that is to be measured."""

    name: str
    directory: Path
    seconds: float
    rounds: int
    scale: float = field(default=1.0)  # of what is counted and not timed; below 1 to try out
    peers: bool = False  # those too that have to be installed first

    def say(self, text: str) -> None:
        """Progress, for whoever waits."""
        print(f"{self.name}: {text}", file=sys.stderr, flush=True)


def median(values: Iterable[float]) -> float:
    """The middle one, to four significant digits: more would pretend."""
    return float(f"{statistics.median(values):.4g}")


def spread(values: Iterable[float]) -> float:
    """(largest - smallest) / median: how far apart the rounds lie."""
    known = list(values)
    return float(f"{(max(known) - min(known)) / statistics.median(known):.2g}")
