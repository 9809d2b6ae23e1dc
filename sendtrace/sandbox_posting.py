"""One request of a stand-in provider, and the wall clock its bodies quote."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.times import iso_ms

_MS: Final = 1000


class Posting(NamedTuple):
    """What `provider` posts `at_s` seconds after the start of the traffic."""

    at_s: float
    provider: str
    content_type: str
    body: bytes


class Wall(NamedTuple):
    """Turns seconds since the start of the traffic into the times providers write."""

    start_ms: int

    def braze(self, at_s: float) -> str:
        """As in Braze's examples: whole seconds, three zeros and an offset, `2020-08-31T18:58:42.000+00:00`."""
        seconds = (self.start_ms + int(at_s * _MS)) // _MS
        return iso_ms(seconds * _MS).removesuffix("Z") + "+00:00"
