"""Which record was in hand when the process ended: so that a body that ends it is put aside, not tried for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

import orjson

#: A record that ended the process so often is a dead letter.
MOST_KILLS: Final = 2


class Suspicion(Protocol):
    """Remembers over a crash which record was in hand. Records are taken up in the order of their positions."""

    def take_up(self, position: int) -> int:
        """How often the record at `position` was taken up before, and not put down."""
        ...

    def put_down(self, position: int) -> None:
        """The record at `position` did not end the process."""
        ...


class MarkedAttempts:
    """`Suspicion` in a small file: written before a record is handled, so it survives the process.

    Not fsynced: it has to survive the process, not the machine. Records that were put down may be
    handled again before the one that was not, so that one's count is kept beside theirs.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times = _read(path)

    def take_up(self, position: int) -> int:
        """See `Suspicion`."""
        times = self._times.get(position, 0)
        ahead = {other: count for other, count in self._times.items() if other > position}
        self._write({position: times + 1, **ahead})
        return times

    def put_down(self, position: int) -> None:
        """See `Suspicion`."""
        self._write({other: count for other, count in self._times.items() if other != position})

    def _write(self, times: dict[int, int]) -> None:
        self._times = times
        self._path.write_bytes(orjson.dumps(times, option=orjson.OPT_NON_STR_KEYS))


def _read(path: Path) -> dict[int, int]:
    """Nothing, when the file is not there or was cut off: then the counting begins anew."""
    try:
        return {int(position): int(count) for position, count in orjson.loads(path.read_bytes()).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}
