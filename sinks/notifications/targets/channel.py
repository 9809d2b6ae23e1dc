"""The seam between the engine and a kind of target."""

from __future__ import annotations

from typing import Protocol

from sinks.notifications.planning import Shape
from sinks.notifications.records import Message, Outcome


class Channel(Protocol):
    """One target, ready to be sent to. Used by one task of one event loop."""

    @property
    def shape(self) -> Shape:
        """What its messages look like."""
        ...

    async def send(self, message: Message, now_ms: int) -> Outcome:
        """One attempt, bounded in time. Never raises for what the target does."""
        ...
