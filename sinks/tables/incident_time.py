"""In which order the incident step is given its records, and how far event time is: by what was received. Pure.

The step judges a time when it has passed. So of several streams none may run ahead of one that has more to
read: what was read of it waits. And event time is never before a record that was handed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from itertools import dropwhile
from typing import Final, Generic, NamedTuple, TypeVar

#: Between being received and being readable a postback takes less than this, while all goes well.
MARGIN_MS: Final = 1_000
#: A record from further ahead of the clock would move event time to where no other record comes.
MOST_AHEAD_MS: Final = 24 * 3_600_000

_MOST_DISORDER: Final = 50

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

    def take(self, behind: Collection[Place], until_ms: int | None = None) -> list[tuple[Place, Read[_Record]]]:
        """What can be handed over, of what was received until then. `behind` are the places with more to read.

        Without `until_ms` something always can, once every place that is behind has been read from: that of the
        oldest has its turn.
        """
        limits = [self._latest_ms.get(place, -1) for place in behind]
        if until_ms is not None:
            limits.append(until_ms)
        most_ms = min(limits, default=None)
        taken = []
        for place, lane in self._waiting.items():
            while lane and (most_ms is None or lane[0].received_ms <= most_ms):
                taken.append((place, lane.popleft()))
        return taken

    def complete_until(self, until_ms: int) -> int:
        """Up to when all that waits could be handed over, if it is all there is until then.

        Offsets are passed in their order, so one that is older than another before it has to wait for that.
        """
        for _ in range(_MOST_DISORDER):
            held = [one.received_ms for lane in self._waiting.values() for one in _out_of_order(lane, until_ms)]
            if not held:
                return until_ms
            until_ms = min(held) - 1
        return -1

    def first_waiting(self) -> dict[Place, int]:
        """The offset of the first that waits, of places where one does."""
        return {place: lane[0].offset for place, lane in self._waiting.items() if lane}


def _out_of_order(lane: Iterable[Read[_Record]], until_ms: int) -> Iterator[Read[_Record]]:
    """Those until then behind one that is later."""
    rest = dropwhile(lambda one: one.received_ms <= until_ms, lane)
    return (one for one in rest if one.received_ms <= until_ms)


def advanced(watermark_ms: int | None, received_ms: Iterable[int], *, complete_ms: int | None) -> int | None:
    """Event time after these were handed over; `None` as long as nothing is known.

    `complete_ms`: all that was received by then has been handed over, where that is known.
    """
    reached = max(received_ms, default=None)
    if complete_ms is not None:
        reached = max(reached or 0, complete_ms)
    if reached is None or watermark_ms is None:
        return reached if watermark_ms is None else watermark_ms
    return max(reached, watermark_ms)
