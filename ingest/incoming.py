"""One request on its way in: head, judgement, body, fed in pieces cut anywhere.

Knows no transport. What it refuses it refuses as early as it can be known: an unwanted or oversized
body is never waited for.
"""

from __future__ import annotations

from ingest.addresses import Peer
from ingest.answers import BODY_TOO_LARGE, UNKNOWN_EXPECTATION, Refused
from ingest.chunked import ChunkedBody
from ingest.gateway import Gateway
from ingest.head import HEAD_END, Head, HeadReader, read_head
from ingest.tickets import Admission


class Incoming:
    """One request. `admission` is there once its head is let in, `body` once all of it has come."""

    __slots__ = ("_bytes", "_chunks", "_gateway", "_head", "_peer", "admission", "body", "told_to_continue")

    def __init__(self, gateway: Gateway, peer: Peer) -> None:
        self._gateway = gateway
        self._peer = peer
        self._head: HeadReader | None = None
        self._bytes = bytearray()
        self._chunks: ChunkedBody | None = None
        self.admission: Admission | None = None
        self.body: bytes | None = None
        self.told_to_continue = False

    @property
    def held_bytes(self) -> int:
        """What it keeps in memory so far."""
        head = len(self._head.raw) if self._head else 0
        return head + len(self._chunks.body if self._chunks else self._bytes)

    @property
    def awaits_continue(self) -> bool:
        """Whether the sender waits for our word before it sends the body (RFC 9110 §10.1.1)."""
        return (
            self.admission is not None
            and self.admission.expectation != b""
            and not self.told_to_continue
            and not self.held_bytes
            and self.body is None
        )

    def feed(self, data: bytes, pos: int) -> int:
        """Read `data` from `pos` on; returns where reading stopped: the end, or just behind this request.

        Raises `Refused`.
        """
        if self.admission is None:
            pos = self._feed_head(data, pos)
        if self.admission is None:
            return pos
        if self._chunks is not None:
            return self._feed_chunks(self._chunks, data, pos)
        return self._feed_body(self.admission.length, data, pos)

    def _feed_head(self, data: bytes, pos: int) -> int:
        if self._head is None:
            end = data.find(HEAD_END, pos) + len(HEAD_END)
            raw = data[pos:end]
            self.admission = self._gateway.known_heads.get(raw)
            if self.admission is not None:
                self._prepare_body(self.admission, len(data) - end)
                return end
            if raw[:1].isalpha() and raw.endswith(HEAD_END):
                self._admit(read_head(raw, self._gateway.limits), raw, len(data) - end)
                return end
            self._head = HeadReader(self._gateway.limits)
        pos = self._head.feed(data, pos)
        if self._head.head is not None:
            self._admit(self._head.head, bytes(self._head.raw), len(data) - pos)
        return pos

    def _admit(self, head: Head, raw: bytes, at_hand_bytes: int) -> None:
        admission = self._gateway.admit(head, self._peer)
        self.admission = admission  # before what follows can refuse: those refusals are this source's
        self._head = None
        if admission.expectation not in {b"", b"100-continue"}:
            raise Refused(UNKNOWN_EXPECTATION)
        if admission.length > self._gateway.limits.body_bytes:
            raise Refused(BODY_TOO_LARGE)
        self._gateway.remember(raw, admission)
        self._prepare_body(admission, at_hand_bytes)

    def _prepare_body(self, admission: Admission, at_hand_bytes: int) -> None:
        if admission.chunked:
            self._chunks = ChunkedBody(self._gateway.limits)
        if admission.chunked or admission.length > at_hand_bytes:
            self._gateway.check_room(admission.length)

    def _feed_body(self, length: int, data: bytes, pos: int) -> int:
        end = min(len(data), pos + length - len(self._bytes))
        if not self._bytes and end - pos == length:
            self.body = data[pos:end]
            return end
        self._bytes += data[pos:end]
        if len(self._bytes) == length:
            self.body = bytes(self._bytes)
        return end

    def _feed_chunks(self, chunks: ChunkedBody, data: bytes, pos: int) -> int:
        pos = chunks.feed(data, pos)
        if chunks.done:
            self.body = bytes(chunks.body)
        return pos
