"""In which order the incident step is given its records, and how far event time is: by what was received. Pure.

The step judges a time when it has passed. So of several streams none may run ahead of one that has more to
read: what was read of it waits. And event time is never before a record that was handed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

#: Between being received and being readable a postback takes less than this, while all goes well.
MARGIN_MS: Final = 1_000
#: A record from further ahead of the clock would move event time to where no other record comes.
MOST_AHEAD_MS: Final = 24 * 3_600_000

#: (topic, partition)
Place = tuple[str, int]
_Record = TypeVar("_Record")


class Read(NamedTuple, Generic[_Record]):
    """One record, when it was received (Unix milliseconds), and its offset."""

    received_ms: int
    offset: int
    record: _Record


class Lanes(Generic[_Record]):
    """What was read and not handed over yet, place by place. Used by one thread."""

    def __init__(self) -> None:
        self._waiting: dict[Place, deque[Read[_Record]]] = {}
        self._latest_ms: dict[Place, int] = {}

    def add(self, place: Place, found: Iterable[Read[_Record]]) -> None:
        """In the order of their offsets."""
        lane = self._waiting.setdefault(place, deque())
        for one in found:
            lane.append(one)
            self._latest_ms[place] = max(one.received_ms, self._latest_ms.get(place, 0))

    def waiting(self, place: Place) -> int:
        """How many of a place wait."""
        return len(self._waiting.get(place, ()))

    def take(self, behind: Collection[Place]) -> list[tuple[Place, Read[_Record]]]:
        """What can be handed over. `behind` are the places with more to read.

        Something always can once every place that is behind has been read from: that of the oldest has its turn.
        """
        until_ms = min((self._latest_ms.get(place, -1) for place in behind), default=None)
        taken = []
        for place, lane in self._waiting.items():
            while lane and (until_ms is None or lane[0].received_ms <= until_ms):
                taken.append((place, lane.popleft()))
        return taken

    def first_waiting(self) -> dict[Place, int]:
        """The offset of the first that waits, of places where one does."""
        return {place: lane[0].offset for place, lane in self._waiting.items() if lane}


def advanced(watermark_ms: int | None, received_ms: Iterable[int], *, complete_ms: int | None) -> int | None:
    """Event time after these were handed over; `None` as long as nothing is known.

    `complete_ms`: everything a gateway had received by this time of the clock has been, where that is known.
    """
    reached = max(received_ms, default=None)
    if complete_ms is not None:
        reached = max(reached or 0, complete_ms - MARGIN_MS)
    if reached is None or watermark_ms is None:
        return reached if watermark_ms is None else watermark_ms
    return max(reached, watermark_ms)
