"""What the demo shows: messages by status with their share and the latest reason, kept from transitions.

Pure: transitions and counts in, a table or lines out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from schemas.records import Transition
from schemas.statuses import ORDER
from sendtrace.terminal import STYLES, Cell, Grid, safe
from sendtrace.timeline import name_of

#: What a newcomer should have seen, each with its reason.
WANTED: Final = ("delivered", "bounced", "aborted")
_BAR_CHARS: Final = 12
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_NO_REASON: Final = "–"


class Latest(NamedTuple):
    """The last message that came to a status by a postback that gave a reason, or the last of all."""

    message: str
    reason: str | None
    bounce_class: str | None

    def told(self) -> str:
        """The reason and, for a failure, its class."""
        if self.reason is None:
            return _NO_REASON
        return safe(self.reason) if self.bounce_class is None else f"{safe(self.reason)} ({self.bounce_class})"


class Board:
    """The state of the demo's table."""

    def __init__(self) -> None:
        self._latest: dict[str, Latest] = {}
        self._counts: dict[str, int] = {}
        self._missing = list(WANTED)

    def feed(self, transitions: Iterable[Transition]) -> list[str]:
        """Take what happened since; returns a line for each wanted status that was seen for the first time."""
        first = []
        for transition in transitions:
            status = transition["status"]
            if transition["from_status"] == status:
                continue
            seen = Latest(name_of(transition), transition["reason"], transition["bounce_class"])
            if seen.reason is not None or status not in self._latest or self._latest[status].reason is None:
                self._latest[status] = seen
            if status in self._missing:
                self._missing.remove(status)
                first.append(f"first {status}: {seen.message}  {seen.told() if seen.reason else 'no reason given'}")
        return first

    def count(self, by_status: Mapping[str, int]) -> None:
        """Take the number of messages in each status."""
        self._counts = {word: by_status[word] for word in sorted(by_status, key=_order) if by_status[word]}

    @property
    def messages(self) -> int:
        """All messages known."""
        return sum(self._counts.values())

    def example(self) -> str | None:
        """A message worth a look: one that failed, else any."""
        for status in ("bounced", "aborted", *self._latest):
            if status in self._latest:
                return self._latest[status].message
        return None

    def line(self) -> str:
        """`61 messages: sent 4, delivered 52, bounced 5`."""
        return f"{self.messages} messages: " + ", ".join(f"{word} {count}" for word, count in self._counts.items())

    def grid(self) -> Grid:
        """A row for each status that some message has."""
        rows = []
        for word, count in self._counts.items():
            share = count / self.messages
            style = STYLES.get(word, "")
            latest = self._latest.get(word)
            rows.append(
                (
                    Cell(word, style),
                    Cell(f"{count:,}"),
                    Cell(f"{share:.1%}"),
                    Cell(_bar(share), style),
                    Cell(latest.told() if latest else _NO_REASON, "" if latest and latest.reason else "dim"),
                )
            )
        return Grid(("status", "messages", "share", "", "latest reason"), rows, frozenset({"messages", "share"}))


def _order(word: str) -> int:
    return ORDER.get(word, len(ORDER))


def _bar(share: float) -> str:
    whole, rest = divmod(round(share * _BAR_CHARS * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
