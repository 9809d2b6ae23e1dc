"""Which record was in hand when the process ended: so that a body that ends it is put aside, not tried for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

#: A record that ended the process so often is a dead letter.
MOST_KILLS: Final = 2


class Suspicion(Protocol):
    """Remembers over a crash which record was in hand."""

    def take_up(self, position: int) -> int:
        """How often the record at `position` was taken up before, and not put down."""
        ...


class MarkedAttempts:
    """`Suspicion` in a small file: written before a record is handled, so it survives the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take_up(self, position: int) -> int:
        """See `Suspicion`. Not fsynced: it has to survive the process, not the machine."""
        try:
            held, times = (int(word) for word in self._path.read_text(encoding="ascii").split())
        except (FileNotFoundError, ValueError):
            held, times = -1, 0
        times = times if held == position else 0
        self._path.write_text(f"{position} {times + 1}", encoding="ascii")
        return times
