"""The stand-in providers' traffic as one stream in time order: who posts what, and when.

Pure and seeded: the same seed, rate and start give the same bytes. Chance adds what networks and
providers add: repeats, changed order, lateness, bodies that are no postbacks. The first three
messages are one delivered, one bounced and one aborted, so that whoever watches has soon seen them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final

from sendtrace import sandbox_braze, sandbox_nrs
from sendtrace.sandbox_posting import Posting, Wall

PROVIDERS: Final = (sandbox_braze.NAME, sandbox_nrs.NAME)
_BRAZE_SHARE: Final = 0.55
_BROKEN: Final = 0.008  # of messages
_REPEATED: Final = 0.04  # of postings, as the rest below
_DISORDERED: Final = 0.06
_LATE: Final = 0.01
_ORDERS: Final = range(1_000_000, 9_000_000)
_LONGEST_REPEAT_S: Final = 20.0
_BRAZE_OPENING: Final = ("delivered", "bounced", "aborted")
_NRS_OPENING: Final = (("sent", "delivered"), ("sent", "hard_bounced"))


def traffic(
    *, seed: int, messages_per_s: float, start_ms: int, providers: Sequence[str] = PROVIDERS
) -> Iterator[Posting]:
    """Postings without end, `at_s` growing. Memory holds only what is due within the next minute."""
    random = Random(seed)  # noqa: S311  made-up traffic, repeatable on purpose
    mix = _Mix(random, Wall(start_ms), providers)
    pending: list[tuple[float, int, Posting]] = []
    numbers = count()  # of two postings due at once the first made goes first
    start_s = 0.0
    while True:
        for posting in _disturbed(random, mix.story(start_s)):
            heappush(pending, (posting.at_s, next(numbers), posting))
        start_s += random.expovariate(messages_per_s)
        while pending and pending[0][0] <= start_s:
            yield heappop(pending)[2]


class _Mix:
    """Whose message is next, and how it goes."""

    def __init__(self, random: Random, wall: Wall, providers: Sequence[str]) -> None:
        self._random = random
        self._providers = providers
        self._braze = sandbox_braze.BrazeSender(random, wall, first_order=random.choice(_ORDERS))
        self._nrs = sandbox_nrs.NrsSender(random)
        self._opening: deque[Callable[[float], list[Posting]]] = deque()
        if sandbox_braze.NAME in providers:
            self._opening.extend(partial(self._braze.story, ending=ending) for ending in _BRAZE_OPENING)
        if sandbox_nrs.NAME in providers:
            self._opening.extend(partial(self._nrs.story, way=way, channel="mailing") for way in _NRS_OPENING)

    def story(self, start_s: float) -> list[Posting]:
        """The postings of the next message, in the order things happen."""
        if self._opening:
            return self._opening.popleft()(start_s)
        braze = self._is_braze()
        if self._random.random() < _BROKEN:
            return [(sandbox_braze if braze else sandbox_nrs).broken(self._random, start_s)]
        return self._braze.story(start_s) if braze else self._nrs.story(start_s)

    def _is_braze(self) -> bool:
        if len(self._providers) == 1:
            return self._providers[0] == sandbox_braze.NAME
        return self._random.random() < _BRAZE_SHARE


def _disturbed(random: Random, story: list[Posting]) -> Iterator[Posting]:
    """What the network makes of a story: some of it later, some before its turn, some twice."""
    for posting in story:
        at_s, chance = posting.at_s, random.random()
        if chance < _LATE:
            at_s += random.uniform(20, 40)
        elif chance < _LATE + _DISORDERED:
            at_s += random.uniform(1, 6)  # what follows may overtake it
        yield posting._replace(at_s=at_s)
        if random.random() < _REPEATED:
            yield posting._replace(at_s=at_s + random.uniform(0.1, _LONGEST_REPEAT_S))
