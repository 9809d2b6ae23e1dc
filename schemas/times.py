"""Times on our records: UTC, ISO 8601, milliseconds and `Z`, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_ms(epoch_ms: int) -> str:
    """`1598900322000` → `2020-08-31T18:58:42.000Z`."""
    seconds, millis = divmod(epoch_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def epoch_ms(iso: str) -> int:
    """The inverse of `iso_ms`; any ISO 8601 text with a zone is read."""
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def hour_of(iso: str) -> str:
    """The hour a time of ours lies in: `2020-08-31T18:58:42.000Z` → `2020-08-31T18:00:00.000Z`."""
    return iso[:13] + ":00:00.000Z"


class IsoClock:
    """`iso_ms` for a stream of nearly equal times: the part up to the second is made once a second."""

    __slots__ = ("_at_ms", "_prefix", "_second", "_text")

    def __init__(self) -> None:
        self._at_ms = self._second = -1
        self._prefix = self._text = ""

    def __call__(self, at_ms: int) -> str:
        """`at_ms` may stand still, grow or go back."""
        if at_ms == self._at_ms:
            return self._text
        second, millis = divmod(at_ms, 1000)
        if second != self._second:
            self._second = second
            self._prefix = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}."
        self._at_ms, self._text = at_ms, f"{self._prefix}{millis:03d}Z"
        return self._text
