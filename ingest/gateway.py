"""The gateway's decisions: may this head be followed by its body, and may this request be kept.

It is handed what the protocol read and refuses it with an `Answer` or appends a `Postback` to the
log. It opens no socket, parses no body, decodes no content encoding, and logs nothing: a path holds
a token and a body holds addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ingest.addresses import Peer, client_address, networks, parse_address, within
from ingest.answers import IN_FLIGHT_FULL, KEPT, NOT_FOUND, WRONG_METHOD, Answer, Refused
from ingest.auth import Denial, Gatekeeper, Source
from ingest.connections import Connections
from ingest.counters import Counters, SourceCounts
from ingest.head import HEAD_END, Head, read_head
from ingest.limits import Limits
from ingest.signatures import Signed, holds
from ingest.tickets import Admission, Ticket
from schemas.ports import Clock, PostbackLog
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds

RECORD_OVERHEAD_BYTES: Final = 512  # what a request holds in memory besides its body, until it is durable
_PREFIX: Final = b"/in/"


class Gateway:
    """One gateway on one event loop.

    `trusted_proxies` are CIDR texts: only their `X-Forwarded-For` is believed. `counters` and
    `known_heads` are public to the collector and the protocol; nobody else writes them.
    Raises `ValueError` for sources that share a name or token and for proxies that are no networks.
    """

    __slots__ = (
        "_asks_address",
        "_clock",
        "_gatekeeper",
        "_log",
        "_proxies",
        "_receipt_ids",
        "_signing_keys",
        "connections",
        "counters",
        "known_heads",
        "limits",
    )

    def __init__(
        self,
        *,
        sources: Sequence[Source],
        log: PostbackLog,
        limits: Limits,
        clock: Clock,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        self.limits = limits
        self.counters = Counters.of(source.name for source in sources)
        self.connections = Connections(limits, clock, self.counters)
        self.known_heads: dict[bytes, Admission] = {}
        self._log = log
        self._clock = clock
        self._receipt_ids = ReceiptIds()
        self._gatekeeper = Gatekeeper(sources)
        self._proxies = networks(trusted_proxies)
        self._asks_address = any(source.allow_addresses for source in sources)
        self._signing_keys = {source.name: source.signing_keys() for source in sources if source.hmac_secrets}

    @property
    def stopping(self) -> bool:
        """Whether `drain` was called."""
        return self.connections.stopping

    def can_keep(self) -> bool:
        """Readiness: whether a 200 could probably be given now."""
        return not self.stopping and self._log.can_keep()

    def drain(self) -> None:
        """Stop: answers carry `Connection: close`, accepted requests are still answered, idle connections end."""
        self.connections.stop()

    def peer(self, peername: object) -> Peer:
        """The other end of a connection, from what its transport calls `peername`."""
        if not isinstance(peername, tuple):
            return Peer("", None, trusted=False)
        text = str(peername[0])
        address = parse_address(text)
        return Peer(text, address, trusted=within(address, self._proxies))

    def admit(self, head: Head, peer: Peer) -> Admission:
        """Judge a head by path, method and credentials. Raises `Refused`: 404 or 405."""
        named = _named(head.target)
        if named is None:
            raise self._denied(Denial.UNKNOWN_PATH)
        if head.method != b"POST":
            raise Refused(WRONG_METHOD)
        name, token = named
        address = client_address(peer, head.forwarded_for, self._proxies) if self._asks_address else None
        source = self._gatekeeper.check(name=name, token=token, authorization=head.authorization, address=address)
        if isinstance(source, Denial):
            raise self._denied(source)
        return self._admission(source, head)

    def recognize(self, raw: bytes) -> Admission | None:
        """Admit a head never met before of a sender who was: with an id in each head, that is all traffic.

        Read and judged like any other head. Whatever is not plain, not in order or not surely let in
        is `None` here and takes the long way, which knows the answer and counts it.
        """
        if not raw.endswith(HEAD_END):
            return None
        try:
            head = read_head(raw, self.limits)
        except Refused:
            return None
        named = _named(head.target)
        plain = head.method == b"POST" and head.persistent and not (head.chunked or head.expectation)
        if named is None or not plain or head.length > self.limits.body_bytes:
            return None
        source = self._gatekeeper.passed(name=named[0], token=named[1], authorization=head.authorization)
        if source is None:
            return None
        admission = self._admission(source, head)
        self.remember(raw, admission)
        return admission

    def remember(self, raw: bytes, admission: Admission) -> None:
        """Know this head again by its bytes, so that a sender who repeats itself costs one look-up.

        Only heads that were let in, whose every condition lies in these bytes: no signature, no
        address list. A wrong token is never found here, so it always takes the long way.
        """
        source = admission.source
        plain = admission.persistent and not (admission.chunked or admission.expectation)
        if not plain or source.hmac_secrets or source.allow_addresses or len(raw) > self.limits.known_head_bytes:
            return
        if len(self.known_heads) >= self.limits.known_heads:
            self.known_heads.clear()
        self.known_heads[raw] = admission

    def check_room(self, body_bytes: int) -> None:
        """Before a body is waited for: would it be taken? Raises `Refused`: 503."""
        if self.counters.in_flight_bytes + body_bytes + RECORD_OVERHEAD_BYTES > self.limits.in_flight_bytes:
            raise Refused(IN_FLIGHT_FULL)

    def accept(self, admission: Admission, body: bytes, ticket: Ticket) -> Answer | None:
        """Hand a complete request to the log, or say why not; the log settles the ticket, perhaps at once."""
        counters = self.counters
        size_bytes = len(body) + RECORD_OVERHEAD_BYTES
        if counters.in_flight_bytes + size_bytes > self.limits.in_flight_bytes:
            return IN_FLIGHT_FULL
        now_ms = self._clock.now_ms()
        source, counts, _, _, _, _, content_type, content_encoding, signed = admission
        if signed is not None and not holds(self._signing_keys[source.name], signed, body, now_ms // 1000):
            self.counters.denied[Denial.BAD_SIGNATURE] += 1
            return NOT_FOUND
        counters.in_flight_bytes += size_bytes
        ticket.size_bytes = size_bytes
        counts.accepted += 1
        counts.accepted_bytes += len(body)
        receipt_id = self._receipt_ids.next(now_ms)
        self._log.append(
            Postback(
                source.name, source.provider, KIND_POSTBACK, receipt_id, now_ms, content_type, content_encoding, body
            ),
            ticket,
        )
        return None

    def count(self, answer: Answer, counts: SourceCounts | None) -> None:
        """Count an answer; `counts` where the sender had proved to be that source."""
        if answer is KEPT:
            return  # counted by source, when the log settled
        self.counters.refused[answer.reason] += 1
        if counts is not None:
            counts.refused += 1

    def _denied(self, why: Denial) -> Refused:
        self.counters.denied[why] += 1
        return Refused(NOT_FOUND)

    def _admission(self, source: Source, head: Head) -> Admission:
        return Admission(  # by position, as in `ingest/head.py`
            source,
            self.counters.sources[source.name],
            head.length,
            head.chunked,
            head.persistent,
            head.expectation,
            head.content_type,
            head.content_encoding,
            Signed(head.signed_id, head.signed_time, head.signatures) if source.hmac_secrets else None,
        )


def _named(target: bytes) -> tuple[bytes, bytes] | None:
    """The source's name and the token in a request target, in origin or absolute form (RFC 9112 §3.2), without
    query; nothing is unescaped. `None` where the path is not one of ours."""
    if not target.startswith(b"/"):
        _, scheme, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2] if scheme else target
    path = target.partition(b"?")[0]
    if not path.startswith(_PREFIX):
        return None
    name, _, token = path.removeprefix(_PREFIX).partition(b"/")
    return name, token
