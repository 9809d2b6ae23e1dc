"""The sending half of a connection: answers in the order of the requests, flow, and a polite end.

Knows nothing of requests; `ingest/protocol.py` reads them. Writes nothing but rows of the answers
table and logs nothing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from math import inf
from typing import Final, cast

from ingest.addresses import Peer
from ingest.answers import CONNECTIONS_FULL, LATE, Answer
from ingest.counters import SourceCounts
from ingest.gateway import Gateway
from ingest.tickets import Owed

_WRITE_BUFFER_BYTES: Final = 16 * 1024  # some hundred answers nobody reads


class Connection(asyncio.Protocol, ABC):
    """One open connection.

    `_ready`: between requests and free to take one. `_ended`: no further request will be read; the
    last answer owed says so, then the connection closes, with `_linger` only once the sender had
    time to read. `_finished`: that last answer is sent. `_owed` is empty or begins with an answer
    still waited for. `register` is the host's set of connections: its graceful stop looks there.
    """

    __slots__ = (
        "_connections",
        "_discarded_bytes",
        "_ended",
        "_eof",
        "_finished",
        "_gateway",
        "_linger",
        "_owed",
        "_paused",
        "_peer",
        "_pipelined_requests",
        "_read_due_s",
        "_ready",
        "_register",
        "_transport",
        "_write_paused",
        "due_s",
    )

    _transport: asyncio.Transport
    _peer: Peer
    due_s: float

    def __init__(self, gateway: Gateway, register: set[object]) -> None:
        self._gateway = gateway
        self._register = register
        self._connections = gateway.connections
        self._pipelined_requests = gateway.limits.pipelined_requests
        self._owed: list[Owed] = []
        self._discarded_bytes = 0
        self._ready = False
        self._ended = False
        self._finished = False
        self._linger = False
        self._eof = False
        self._paused = False
        self._write_paused = False
        self._read_due_s = self.due_s = inf

    @abstractmethod
    def expire(self, now_s: float) -> None:
        """See `Watched`."""

    @abstractmethod
    def stop(self) -> None:
        """See `Watched`."""

    @abstractmethod
    def stop_waiting(self, *, partial_too: bool) -> None:
        """See `Watched`."""

    @abstractmethod
    def _drop_input(self) -> None:
        """Forget what has been received and not been taken."""

    @abstractmethod
    def _go_on_reading(self) -> None:
        """Reading was paused and no longer is: take up what was left, and set `_ready` and the due time."""

    @abstractmethod
    def _tell_to_continue(self) -> None:
        """Send `100 Continue` if the sender of the request at hand waits for it and nothing is owed."""

    # Called by the transport and the host.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection is open; one too many is told so and closed at once, to hold nothing for it."""
        self._transport = cast(asyncio.Transport, transport)
        self._peer = self._gateway.peer(transport.get_extra_info("peername"))
        if not self._connections.enter(self, self._peer):
            self._end(linger=False)
            self._gateway.count(CONNECTIONS_FULL, None)
            self._transport.write(CONNECTIONS_FULL.close_bytes)
            self._transport.close()
            return
        self._register.add(self)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._ready = True
        self._watch(self._connections.head_due_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — why does not matter
        """The connection is gone. What the log was given stays with the log; its word has no reader now."""
        self._register.discard(self)
        self._connections.leave(self, self._peer)
        self._abandon()

    def pause_writing(self) -> None:
        """The sender does not read its answers: take no more requests from it."""
        self._write_paused = True
        self._pause()
        self._watch(self._connections.write_due_s)

    def resume_writing(self) -> None:
        """The sender reads again."""
        self._write_paused = False
        self._resume()

    def shutdown(self) -> None:
        """For uvicorn: it stops, and asks every connection to come to its end."""
        self._gateway.drain()

    # Answers.

    def flush(self) -> None:
        """Send what is settled, in the order of the requests."""
        owed = self._owed
        while owed and (answer := owed[0].answer) is not None:
            del owed[0]
            self._transport.write(answer.close_bytes if self._ended and not owed else answer.keep_bytes)
        if owed:
            self.due_s = min(self._read_due_s, owed[0].due_s)
            if self._paused:
                self._resume()
        elif self._ready:
            self._read_due_s = self.due_s = self._connections.idle_due_s
        else:
            self._caught_up()

    def _answer(self, place: Owed, answer: Answer, counts: SourceCounts | None) -> None:
        """A refusal takes its place among the answers."""
        place.answer = answer
        self._gateway.count(answer, counts)
        if answer.closes:
            self._end(linger=True)
        self.flush()

    def _answer_late(self, now_s: float) -> None:
        """Whoever has waited too long for the log gets 503; the log's own word comes too late then."""
        for owed in self._owed:
            if owed.answer is None and owed.due_s <= now_s:
                owed.answer = LATE
                self._gateway.count(LATE, None)
        if self._owed:
            self.flush()

    def _caught_up(self) -> None:
        """Nothing is owed, and the connection is not simply idle."""
        if self._ended:
            self._finish()
        elif self._paused:
            self._resume()
        else:
            self._watch(self._read_due_s)
            self._tell_to_continue()

    # The end.

    def _end(self, *, linger: bool) -> None:
        self._ended = True
        self._ready = False
        self._linger = linger

    def _finish(self) -> None:
        """The last answer is sent: close, or let the sender read it first.

        Closing over unread input makes the kernel send a reset, which can overtake the answer.
        """
        if self._finished:
            return
        self._finished = True
        self._watch(self._connections.linger_due_s)
        if self._eof or not self._linger:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume()

    def _close(self) -> None:
        """End a connection that owes nothing."""
        self._end(linger=False)
        self._finish()

    def _abort(self) -> None:
        """End a connection whose sender does not read: what is owed to it is lost."""
        self._abandon()
        self._transport.abort()

    def _abandon(self) -> None:
        """From here on nothing is read or written, whatever the log still says."""
        self._end(linger=False)
        self._finished = True
        for owed in self._owed:
            owed.answer = owed.answer or LATE
        self._owed.clear()
        self._drop_input()
        self.due_s = inf

    def _discard(self, size_bytes: int) -> None:
        """Input behind the last request: thrown away so that the sender gets to read, but not for ever."""
        self._discarded_bytes += size_bytes
        if self._discarded_bytes > self._gateway.limits.linger_bytes:
            self._linger = False
            self._pause()
            if self._finished:
                self._transport.close()

    # Flow and deadlines.

    def _pause(self) -> None:
        self._ready = False
        if not self._paused:
            self._paused = True
            if not self._eof and not self._transport.is_closing():
                self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._paused or self._write_paused or len(self._owed) >= self._pipelined_requests:
            return
        self._paused = False
        if not self._eof and not self._transport.is_closing():
            self._transport.resume_reading()
        if not self._ended:
            self._go_on_reading()

    def _watch(self, read_due_s: float) -> None:
        self._read_due_s = read_due_s
        self.due_s = min(read_due_s, self._owed[0].due_s) if self._owed else read_due_s
