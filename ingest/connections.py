"""The open connections: how many there may be, what they may hold together, and when one is late.

One timer looks at all of them every `sweep_period_s`; a timer a request would cost more than the
request. Times are therefore coarse: due times lie one period later than asked, so that nothing is
ever closed early. Time comes from the clock's monotonic side and only at the sweep.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Protocol

from ingest.addresses import Peer
from ingest.counters import Counters
from ingest.limits import Limits
from schemas.ports import Clock


class Watched(Protocol):
    """A connection as the sweep sees it."""

    due_s: float

    def expire(self, now_s: float) -> None:
        """Called once `due_s` has come: do what is due and set the next `due_s`."""
        ...

    def stop(self) -> None:
        """Called when the gateway stops: take no further request after the one at hand."""
        ...

    def stop_waiting(self, *, partial_too: bool) -> None:
        """Called while the gateway stops: close if idle, and with `partial_too` refuse what is half-received."""
        ...


class Connections:
    """All open connections of one gateway on one event loop."""

    __slots__ = (
        "_clock",
        "_counters",
        "_limits",
        "_open",
        "_per_address",
        "_stopping_since_s",
        "_timer",
        "answer_due_s",
        "body_due_s",
        "head_due_s",
        "idle_due_s",
        "linger_due_s",
        "stopping",
        "write_due_s",
    )

    def __init__(self, limits: Limits, clock: Clock, counters: Counters) -> None:
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._open: set[Watched] = set()
        self._per_address: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopping_since_s = inf
        self.stopping = False
        self._set_due_times(clock.monotonic_s())

    def enter(self, connection: Watched, peer: Peer) -> bool:
        """Count a new connection in, unless there are too many; then it is not to be left either."""
        here = self._per_address.get(peer.text, 0)
        if len(self._open) >= self._limits.open_connections:
            return False
        if self._is_capped(peer) and here >= self._limits.connections_per_address:
            return False
        if self._timer is None:
            self._set_due_times(self._clock.monotonic_s())
            self._start_timer()
        self._open.add(connection)
        self._per_address[peer.text] = here + 1
        self._counters.open_connections = len(self._open)
        return True

    def leave(self, connection: Watched, peer: Peer) -> None:
        """Forget a connection that had entered."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        here = self._per_address.pop(peer.text) - 1
        if here:
            self._per_address[peer.text] = here
        self._counters.open_connections = len(self._open)

    def hold(self, more_bytes: int) -> bool:
        """Account for bytes of half-received requests, or give them back; false when they are now too many."""
        self._counters.partial_bytes += more_bytes
        return self._counters.partial_bytes <= self._limits.partial_bytes

    def stop(self) -> None:
        """Let every connection end: those with work once it is done, idle ones after a moment."""
        if self.stopping:
            return
        self.stopping = True
        self._stopping_since_s = self._clock.monotonic_s()
        for connection in tuple(self._open):
            connection.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._start_timer()

    def _sweep(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic_s()
        self._set_due_times(now_s)
        for connection in [one for one in self._open if one.due_s <= now_s]:
            connection.expire(now_s)
        if self.stopping:
            self._sweep_stopping(now_s - self._stopping_since_s)
        if self._open:
            self._start_timer()

    def _sweep_stopping(self, stopping_s: float) -> None:
        if stopping_s >= self._limits.drain_idle_s:
            partial_too = stopping_s >= self._limits.drain_deadline_s
            for connection in tuple(self._open):
                connection.stop_waiting(partial_too=partial_too)

    def _start_timer(self) -> None:
        limits = self._limits
        period_s = min(limits.sweep_period_s, limits.drain_idle_s) if self.stopping else limits.sweep_period_s
        self._timer = asyncio.get_running_loop().call_later(period_s, self._sweep)

    def _is_capped(self, peer: Peer) -> bool:
        return bool(peer.text) and not peer.trusted

    def _set_due_times(self, now_s: float) -> None:
        limits = self._limits
        later_s = now_s + limits.sweep_period_s
        self.head_due_s = later_s + limits.header_deadline_s
        self.body_due_s = later_s + limits.body_deadline_s
        self.idle_due_s = later_s + limits.idle_deadline_s
        self.answer_due_s = later_s + limits.answer_deadline_s
        self.write_due_s = later_s + limits.write_deadline_s
        self.linger_due_s = later_s + limits.linger_s
