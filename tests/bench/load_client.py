"""The load: one process that posts pre-rendered requests over many connections, as fast as told or as it can.

Closed loop: each connection sends its next request when its last is answered. Paced: requests are
due at equal distances whatever becomes of the earlier ones, and each is timed from when it was due,
so a stall of the server is counted for everyone it held up. One request at a time a connection;
a connection that ends is an error.

Started by `tests.bench.processes`: prints a line once everything is rendered, begins at a line on
standard input, and prints what came of it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from typing import Final, NamedTuple, cast

import orjson
import uvloop
from typing_extensions import override

from tests.bench.machine import Usage, percentile, usage
from tests.bench.postbacks import requests, traffic, varied

_ANSWER_END: Final = b"\r\n\r\n"
_KEPT: Final = b"HTTP/1.1 200"
_TICK_S: Final = 0.001
_LAST_ANSWERS_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent.

    `rate_per_s` 0 is a closed loop for `seconds` after `warm_up_s`; else `rate_per_s * seconds`
    requests are sent. `bodies` distinct ones are rendered, as `varied`, sent round and round, or
    with `messages` as `traffic`, sent once and in order, with which a closed loop may end early.
    `own_heads`: no two heads alike. `watched` are the processes whose CPU time is read.
    """

    port: int
    path: str
    seconds: float
    bodies: int
    seed: int
    messages: bool = False
    own_heads: bool = False
    rate_per_s: int = 0
    warm_up_s: float = 0.0
    connections: int = 64
    watched: tuple[int, ...] = ()


class Outcome(NamedTuple):
    """What came of it.

    `answers` counts all, by status; `measured` are those within `measured_s`, and latencies and CPU
    seconds (by process id) are theirs. `began_s` and `ended_s`, of first request and last answer,
    are on the machine's monotonic clock. `others_share` is what of the machine went to processes
    that are neither we nor watched.
    """

    answers: dict[str, int]
    measured: int
    measured_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: dict[str, float]
    client_cpu_s: float
    others_share: float
    began_s: float
    ended_s: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.measured / self.measured_s

    @property
    def kept(self) -> int:
        """Requests answered 200."""
        return self.answers.get("200", 0)

    @property
    def refused(self) -> int:
        """Requests answered anything else."""
        return sum(self.answers.values()) - self.kept


class Sender(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_rest", "_run", "_transport", "due_s")

    _transport: asyncio.Transport

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rest = b""
        self.due_s = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due_s: float) -> None:
        """The next request, which should have gone out at `due_s`."""
        self.due_s = due_s
        self._transport.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        now_s = perf_counter()
        if self._rest:
            data = self._rest + data
        if not data.endswith(_ANSWER_END):
            self._rest = data
            return
        self._rest = b""
        run = self._run
        if data.startswith(_KEPT):
            run.kept += 1
        else:
            run.refused[data[9:12].decode("latin-1")] += 1
        run.latencies_s.append(now_s - self.due_s)
        run.free(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._run.fail(ConnectionError(f"a connection ended during the load: {exc}"))


class Run:
    """One load on its way, in closed loop."""

    def __init__(self, load: Load, rendered: list[bytes]) -> None:
        self.load = load
        self.kept = 0
        self.refused: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self._requests: Iterator[bytes] = iter(rendered) if load.messages else cycle(rendered)
        self._senders: list[Sender] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched = (*load.watched, os.getpid())
        self._before: Usage = usage(self._watched)
        self._used: Usage | None = None
        self._measured_s: list[float] = []
        self._began_s = self._from_s = self._measured_time_s = 0.0
        self._at_work = 0

    async def outcome(self) -> Outcome:
        """Connect, send everything, wait for the last answer. Raises `ConnectionError` and `TimeoutError`."""
        loop = asyncio.get_running_loop()
        connecting = [
            loop.create_connection(lambda: Sender(self), "127.0.0.1", self.load.port)
            for _ in range(self.load.connections)
        ]
        self._senders = [sender for _, sender in await asyncio.gather(*connecting)]
        self._at_work = len(self._senders)
        self._began_s = perf_counter()
        self._measure()
        self._start(loop)
        async with asyncio.timeout(self.load.warm_up_s + self.load.seconds + _LAST_ANSWERS_S):
            await self._over
        ended_s = perf_counter()
        self._stop()
        return self._told(ended_s)

    def free(self, sender: Sender) -> None:
        """A connection may send its next request."""
        request = None if self._used is not None else next(self._requests, None)
        if request is not None:
            sender.send(request, perf_counter())
            return
        self._stop()
        self._rest(1)

    def fail(self, error: Exception) -> None:
        """End the run without a result, unless it is over."""
        if not self._over.done():
            self._over.set_exception(error)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        for sender in self._senders:
            self.free(sender)
        if self.load.warm_up_s:
            loop.call_later(self.load.warm_up_s, self._measure)
        loop.call_later(self.load.warm_up_s + self.load.seconds, self._stop)

    def _measure(self) -> None:
        """What was before this was warming up."""
        self.latencies_s = []
        self._before = usage(self._watched)
        self._from_s = perf_counter()

    def _stop(self) -> None:
        """What comes after this is answered and not measured."""
        if self._used is None:
            self._measured_time_s = perf_counter() - self._from_s
            self._used = usage(self._watched).since(self._before)
            self._measured_s, self.latencies_s = self.latencies_s, []

    def _rest(self, senders: int) -> None:
        self._at_work -= senders
        if not self._at_work and not self._over.done():
            self._over.set_result(None)

    def _told(self, ended_s: float) -> Outcome:
        assert self._used is not None
        taken = self._measured_s
        cpu_s = {str(pid): used_s for pid, used_s in self._used.of.items()}
        client_cpu_s = cpu_s.pop(str(os.getpid()))
        return Outcome(
            answers={"200": self.kept, **self.refused},
            measured=len(taken),
            measured_s=self._measured_time_s,
            p50_ms=percentile(taken, 50) * 1e3,
            p99_ms=percentile(taken, 99) * 1e3,
            max_ms=max(taken, default=0.0) * 1e3,
            cpu_s=cpu_s,
            client_cpu_s=client_cpu_s,
            others_share=self._used.others_share,
            began_s=self._began_s,
            ended_s=ended_s,
        )


class PacedRun(Run):
    """The same, with requests due at equal distances. A tick a millisecond sends what is due."""

    def __init__(self, load: Load, rendered: list[bytes]) -> None:
        super().__init__(load, rendered)
        self._all = round(load.rate_per_s * load.seconds)
        self._sent = 0
        self._due = 0
        self._idle: list[Sender] = []

    @override
    def free(self, sender: Sender) -> None:
        if self._sent < self._due:
            self._send(sender)
            return
        self._idle.append(sender)
        if self._sent == self._all and len(self._idle) == len(self._senders):
            self._rest(len(self._senders))

    @override
    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._idle = list(self._senders)
        self._tick(loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = min(self._all, int((perf_counter() - self._from_s) * self.load.rate_per_s) + 1)
        while self._idle and self._sent < self._due:
            self._send(self._idle.pop())
        if self._due < self._all:
            loop.call_later(_TICK_S, self._tick, loop)

    def _send(self, sender: Sender) -> None:
        due_s = self._from_s + self._sent / self.load.rate_per_s
        self._sent += 1
        sender.send(next(self._requests), due_s)


def render(load: Load) -> list[bytes]:
    """Every request there will be."""
    bodies = traffic(load.bodies, seed=load.seed) if load.messages else varied(load.bodies, seed=load.seed)
    return requests(bodies, load.path, own_heads=load.own_heads)


async def _run(load: Load, rendered: list[bytes]) -> Outcome:
    return await (PacedRun if load.rate_per_s else Run)(load, rendered).outcome()


def main(argument: str) -> None:
    """`python -m tests.bench.load_client LOAD`, the load as JSON."""
    load = Load(**orjson.loads(argument))
    rendered = render(load)
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a pause of ours would be taken for the server's
    print("{}", flush=True)
    sys.stdin.readline()
    outcome = uvloop.run(_run(load, rendered))
    print(orjson.dumps(outcome._asdict()).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
