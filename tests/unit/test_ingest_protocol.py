"""The protocol on a transport of paper: cuts, any bytes, and any order of events whatsoever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.answers import ANSWERS, CONTINUE
from ingest.auth import Source
from ingest.gateway import Gateway
from ingest.limits import Limits
from ingest.protocol import GatewayProtocol
from schemas.ports import Waiter
from schemas.postback import Postback

TOKEN = "a-token"
SOURCE = Source(name="braze", provider="braze", token_sha256=(sha256(TOKEN.encode()).hexdigest(),))
LIMITS = replace(
    Limits(), body_bytes=200, request_line_bytes=100, headers_bytes=300, linger_bytes=500, pipelined_requests=3
)
ROWS = {form: row for row in ANSWERS for form in (row.keep_bytes, row.close_bytes)}


class Paper(asyncio.Transport):
    """A transport that only writes down what it is told."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711)})
        self.written = b""
        self.is_reading_paused = False
        self.is_closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high or 0) > 0
        assert low is None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed, "an answer into the void"
        self.written += data

    def write_eof(self) -> None:
        assert not self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        assert not self.is_closed
        assert not self.is_reading_paused
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        assert not self.is_closed
        assert self.is_reading_paused
        self.is_reading_paused = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


class HandClock:
    """Time that goes when it is told to."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return self.at_s


class PaperLog:
    """Notes what it is given; `waiting` are those it owes a word."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once
        self.bodies: list[bytes] = []
        self.waiting: dict[int, Waiter] = {}
        self.kept: dict[int, bool] = {}

    def append(self, postback: Postback, waiter: Waiter) -> None:
        self.waiting[len(self.bodies)] = waiter
        self.bodies.append(postback.body)
        if self.at_once:
            self.settle(len(self.bodies) - 1, kept=True)

    def settle(self, number: int, *, kept: bool) -> None:
        self.kept[number] = kept
        self.waiting.pop(number).settle(kept)

    def can_keep(self) -> bool:
        return True


class Desk:
    """One connection on paper."""

    def __init__(self, *, at_once: bool = True, limits: Limits = LIMITS) -> None:
        self.clock = HandClock()
        self.log = PaperLog(at_once=at_once)
        self.gateway = Gateway(sources=[SOURCE], log=self.log, limits=limits, clock=self.clock)
        self.protocol = GatewayProtocol(self.gateway, set())
        self.paper = Paper()
        self.protocol.connection_made(self.paper)

    def feed(self, data: bytes) -> None:
        if data and not self.paper.is_closed:
            self.protocol.data_received(data)

    def statuses(self) -> list[int]:
        """What was answered, without the words to continue; anything but rows of the table fails."""
        parts = self.paper.written.replace(CONTINUE, b"").split(b"\r\n\r\n")
        assert parts.pop() == b""
        return [ROWS[part + b"\r\n\r\n"].status for part in parts]


@contextmanager
def on_a_loop() -> Iterator[None]:
    """The protocol sets one timer, so there must be a loop; it never turns."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
        loop.close()


def post(body: bytes, *fields: bytes, path: str = f"/in/braze/{TOKEN}") -> bytes:
    lines = (b"POST %b HTTP/1.1" % path.encode(), *fields, b"Content-Length: %d" % len(body), b"", body)
    return b"\r\n".join(lines)


def chunks(body: bytes) -> bytes:
    wire = b"%x;x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"POST /in/braze/%b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\nA: b\r\n\r\n" % (
        TOKEN.encode(),
        wire,
    )


BODIES = st.binary(max_size=40) | st.sampled_from([b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"x" * 200])
GOOD = (
    BODIES.map(post)
    | BODIES.map(chunks)
    | BODIES.map(lambda body: post(body, b"Upgrade: h2c", b"Connection: upgrade"))
    | BODIES.map(lambda body: post(body, b"Expect: 100-continue"))
)
LAST = st.sampled_from(
    [
        b"",
        post(b"last", b"Connection: close"),
        post(b"", path="/in/braze/wrong"),
        post(b"x" * 201),
        post(b"", b"X: " + b"y" * 300),
        chunks(b"x" * 201),
        chunks(b"x").replace(b";x", b" ;x"),
        b"garbage\r\n\r\n",
    ]
)
STREAMS = st.tuples(st.lists(GOOD, max_size=5), LAST).map(lambda parts: b"".join(parts[0]) + parts[1])


@given(STREAMS, st.lists(st.integers(0, 2000), max_size=20))
@settings(max_examples=200)
def test_a_stream_means_the_same_wherever_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    with on_a_loop():
        whole, cut = Desk(), Desk()
        whole.feed(stream)
        edges = [0, *sorted(min(at, len(stream)) for at in cuts), len(stream)]
        for start, end in pairwise(edges):
            cut.feed(stream[start:end])

        assert cut.log.bodies == whole.log.bodies
        assert cut.statuses() == whole.statuses()
        assert cut.gateway.counters == whole.gateway.counters


@given(STREAMS)
def test_a_stream_means_the_same_byte_by_byte(stream: bytes) -> None:
    with on_a_loop():
        whole, cut = Desk(), Desk()
        whole.feed(stream)
        for at in stream:
            cut.feed(bytes([at]))

        assert cut.log.bodies == whole.log.bodies
        assert cut.statuses() == whole.statuses()


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_any_bytes_are_answered_from_the_table_or_waited_for(pieces: list[bytes]) -> None:
    with on_a_loop():
        desk = Desk()
        for piece in pieces:
            desk.feed(piece)

        assert set(desk.statuses()) <= {row.status for row in ANSWERS}


def test_a_sender_cut_off_for_not_reading_is_written_nothing_more() -> None:
    with on_a_loop():
        desk = Desk(at_once=False, limits=replace(LIMITS, answer_deadline_s=1000.0))
        desk.feed(post(b"one") + post(b"two")[:-1])
        desk.protocol.pause_writing()
        desk.clock.at_s += LIMITS.write_deadline_s + 2
        desk.gateway.connections._sweep()
        assert desk.paper.is_closed
        desk.log.settle(0, kept=True)
        desk.gateway.drain()
        desk.clock.at_s += 100
        desk.gateway.connections._sweep()

        assert desk.paper.written == b""


class AnyOrder(RuleBasedStateMachine):
    """Input, settles, deadlines, back-pressure, the end of either side and of the gateway, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = on_a_loop()
        self._loop.__enter__()
        self.desk = Desk(at_once=False)
        self.unsent = b""
        self.is_write_paused = False
        self.is_ended = False
        self.is_lost = False

    def teardown(self) -> None:
        self.lose()
        for number in list(self.desk.log.waiting):
            self.desk.log.settle(number, kept=True)
        counters = self.desk.gateway.counters
        assert (counters.open_connections, counters.partial_bytes, counters.in_flight_bytes) == (0, 0, 0)
        self._loop.__exit__(None, None, None)

    def is_open(self) -> bool:
        return not (self.is_lost or self.desk.paper.is_closed)

    @precondition(lambda self: self.is_open() and not self.is_ended and not self.desk.paper.is_reading_paused)
    @rule(more=GOOD | LAST | st.binary(max_size=20), size=st.integers(1, 600))
    def send(self, more: bytes, size: int) -> None:
        self.unsent += more
        piece, self.unsent = self.unsent[:size], self.unsent[size:]
        self.desk.feed(piece)

    @precondition(lambda self: self.desk.log.waiting)
    @rule(which=st.integers(0, 9), kept=st.booleans())
    def settle(self, which: int, *, kept: bool) -> None:
        waiting = sorted(self.desk.log.waiting)
        self.desk.log.settle(waiting[which % len(waiting)], kept=kept)

    @rule(seconds=st.sampled_from([0.5, 3.0, 11.0, 40.0, 80.0]))
    def wait(self, seconds: float) -> None:
        self.desk.clock.at_s += seconds
        self.desk.gateway.connections._sweep()

    @precondition(lambda self: self.is_open() and not self.is_ended and not self.desk.paper.is_reading_paused)
    @rule()
    def end(self) -> None:
        self.is_ended = True
        if not self.desk.protocol.eof_received():
            self.desk.paper.close()

    @precondition(lambda self: self.is_open())
    @rule()
    def turn_writing(self) -> None:
        self.is_write_paused = not self.is_write_paused
        if self.is_write_paused:
            self.desk.protocol.pause_writing()
        else:
            self.desk.protocol.resume_writing()

    @precondition(lambda self: not self.is_lost)
    @rule()
    def lose(self) -> None:
        if not self.is_lost:
            self.is_lost = self.desk.paper.is_closed = True
            self.desk.protocol.connection_lost(None)

    @rule()
    def stop(self) -> None:
        self.desk.gateway.drain()

    @invariant()
    def answers_are_true_and_in_order(self) -> None:
        """The n-th answer is the n-th request's: 200 only for what the log kept; a refusal comes last."""
        log = self.desk.log
        for number, status in enumerate(self.desk.statuses()):
            assert status != 200 or log.kept[number]
            assert status in {200, 503} or number == len(log.bodies)

    @invariant()
    def what_is_in_flight_is_bounded(self) -> None:
        assert len(self.desk.protocol._owed) <= LIMITS.pipelined_requests + 1

    @invariant()
    def an_open_connection_is_always_due_some_time(self) -> None:
        if self.is_open():
            assert self.desk.protocol.due_s < self.desk.clock.at_s + 100


AnyOrder.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestAnyOrder = AnyOrder.TestCase
