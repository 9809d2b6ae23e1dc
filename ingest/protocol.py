"""One HTTP connection of the gateway, for uvicorn's `http=` setting or `loop.create_server`.

The ordinary request, a plain head of a known sender and its whole body in one piece, takes the straight
path in `data_received`; everything else goes through `Incoming`, with the same result.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Final, Protocol

from ingest.answers import CONTINUE, CUT_SHORT, PARTIAL_FULL, STOPPING, TOO_SLOW, Answer, Refused
from ingest.connection import Connection
from ingest.gateway import Gateway
from ingest.head import HEAD_END
from ingest.incoming import Incoming
from ingest.tickets import Admission, Owed, Ticket

_HEAD_END_BYTES: Final = len(HEAD_END)


class GatewayProtocol(Connection):
    """The reading half of a connection: requests in, cut anywhere, several in flight up to a limit."""

    __slots__ = ("_held_bytes", "_incoming", "_known_heads", "_served", "_unread")

    def __init__(self, gateway: Gateway, register: set[object]) -> None:
        super().__init__(gateway, register)
        self._known_heads = gateway.known_heads
        self._incoming: Incoming | None = None
        self._unread = b""  # received while nothing more may be taken
        self._held_bytes = 0
        self._served = False

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        """Bytes came in, cut anywhere."""
        if self._ready:
            body_at = data.find(HEAD_END) + _HEAD_END_BYTES
            head = data[:body_at]
            known = self._known_heads.get(head) or self._gateway.recognize(head)
            if known is not None and len(data) == body_at + known.length:
                self._complete(known, data[body_at:])
                return
        self._read(data)

    def eof_received(self) -> bool:
        """The sender sends no more, but may well read: what is owed is still sent."""
        self._eof = True
        if self._incoming is not None:
            self._refuse(CUT_SHORT)
        self._end(linger=False)
        return bool(self._owed)

    # Called by the sweep.

    def expire(self, now_s: float) -> None:
        """A deadline has passed: of answers, of a request on its way in, or of the connection."""
        is_reading_late = self._read_due_s <= now_s
        self._answer_late(now_s)
        if not is_reading_late:
            return
        if self._finished or self._write_paused:
            self._abort()
        elif self._incoming is not None:
            self._refuse(TOO_SLOW)
        elif not self._owed:
            self._close()
        else:
            self._watch(inf)

    def stop(self) -> None:
        """The gateway stops: the requests taken so far are the last."""
        if self._owed and self._incoming is None:
            self._end(linger=True)
            self._drop_input()

    def stop_waiting(self, *, partial_too: bool) -> None:
        """The gateway stops and has waited: an idle connection closes, half a request is refused."""
        if self._ended or self._owed:
            return
        if self._incoming is None:
            self._close()
        elif partial_too:
            self._refuse(STOPPING)

    # Reading.

    def _read(self, data: bytes) -> None:
        pos = 0
        while pos < len(data) and not self._ended and not self._paused:
            pos = self._read_some(data, pos)
        if self._ended:
            self._discard(len(data) - pos)
        elif self._paused:
            self._unread += data[pos:]
        self._account()

    def _read_some(self, data: bytes, pos: int) -> int:
        incoming = self._incoming or self._begin()
        was_admitted = incoming.admission is not None
        try:
            pos = incoming.feed(data, pos)
        except Refused as refused:
            self._refuse(refused.answer)
            return pos
        if incoming.admission is not None and incoming.body is not None:
            self._incoming = None
            self._ready = True
            self._complete(incoming.admission, incoming.body)
        elif incoming.admission is not None and not was_admitted:
            self._watch(self._connections.body_due_s)
            self._tell_to_continue()
        return pos

    def _begin(self) -> Incoming:
        self._incoming = Incoming(self._gateway, self._peer)
        self._ready = False
        if self._served:  # a first request has been due since the connection was made
            self._watch(self._connections.head_due_s)
        return self._incoming

    def _complete(self, admission: Admission, body: bytes) -> None:
        """A request is whole: from here on an answer is owed."""
        gateway = self._gateway
        connections = self._connections
        ticket = Ticket(self, admission.counts, gateway.counters, connections.answer_due_s)
        owed = self._owed
        owed.append(ticket)
        if len(owed) == 1:
            self.due_s = ticket.due_s
        self._read_due_s = inf
        self._served = True
        if connections.stopping or not admission.persistent:
            self._end(linger=connections.stopping)
        elif len(owed) >= self._pipelined_requests:
            self._pause()
        answer = gateway.accept(admission, body, ticket)
        if answer is not None:
            self._answer(ticket, answer, admission.counts)

    def _refuse(self, answer: Answer) -> None:
        """Answer in place of the request at hand, after all that are owed, and read no further."""
        incoming = self._incoming
        admission = incoming.admission if incoming else None
        self._end(linger=True)
        self._drop_input()
        place = Owed(None, inf)
        self._owed.append(place)
        self._answer(place, answer, admission.counts if admission else None)

    def _tell_to_continue(self) -> None:
        incoming = self._incoming
        if incoming is not None and incoming.awaits_continue and not self._owed:
            incoming.told_to_continue = True
            self._transport.write(CONTINUE)

    def _go_on_reading(self) -> None:
        self._ready = self._incoming is None
        self._watch(self._due_again_s())
        unread, self._unread = self._unread, b""
        if unread:
            self._read(unread)

    def _due_again_s(self) -> float:
        """When what is waited for is due, counted from now: while we paused, the sender could do nothing."""
        if self._incoming is None:
            return inf if self._owed else self._connections.idle_due_s
        is_head = self._incoming.admission is None
        return self._connections.head_due_s if is_head else self._connections.body_due_s

    # What is held of requests not yet whole.

    def _account(self) -> None:
        """Count what is held; whoever makes it grow when all together hold too much is refused."""
        held_bytes = len(self._unread) + (self._incoming.held_bytes if self._incoming else 0)
        more_bytes = held_bytes - self._held_bytes
        self._held_bytes = held_bytes
        if more_bytes and not self._connections.hold(more_bytes) and more_bytes > 0:
            self._refuse(PARTIAL_FULL)

    def _drop_input(self) -> None:
        self._incoming = None
        self._unread = b""
        self._account()


class Host(Protocol):
    """What uvicorn hands to a connection, as far as we use it."""

    connections: set[object]


def protocol_factory(gateway: Gateway) -> type[asyncio.Protocol]:
    """The class for `uvicorn.Config(http=...)`; called without arguments it suits `loop.create_server`."""

    class BoundProtocol(GatewayProtocol):
        __slots__ = ()

        def __init__(
            self,
            config: object = None,  # noqa: ARG002 — uvicorn's settings: ours are in `Limits`
            server_state: Host | None = None,
            app_state: object = None,  # noqa: ARG002 — there is no ASGI application
            _loop: object = None,
        ) -> None:
            super().__init__(gateway, set() if server_state is None else server_state.connections)

    return BoundProtocol
