"""How long until a postback is a row: posts one every 25 ms and looks for its message in the tables.

Each is timed from when it was due to when its row was first seen, and they are posted whether or
not the earlier ones are there, so that a stall shows in all it held up. Looking costs a reader's
query each 2 ms, which is also how coarse the times are.
"""

from __future__ import annotations

import select
import socket
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import orjson

from schemas.identity import message_id
from tests.bench.gateway_servers import PATH
from tests.bench.postbacks import Maker, requests
from tests.bench.tables_view import TablesView

PERIOD_S: Final = 0.025
_LOOK_S: Final = 0.002
_LAST_S: Final = 30.0
_READ_BYTES: Final = 65_536
_KEPT: Final = b"HTTP/1.1 200 "


@dataclass(frozen=True, slots=True)
class Probing:
    """Where to post, whose tables to look into, for how long; another seed makes other messages."""

    port: int
    directory: str
    seconds: float
    seed: int


class Probes(NamedTuple):
    """What came of it: milliseconds from due to visible, and how many were answered 200."""

    visible_ms: list[float]
    kept: int


class _Probe(NamedTuple):
    request: bytes
    message_id: str


def _made(count: int, seed: int) -> list[_Probe]:
    maker = Maker(f"probes-{seed}", 0)
    names = [maker.names() for _ in range(count)]
    sent = requests([maker.body(each, "sent", 1.0) for each in names], PATH)
    known = [message_id("braze", each.dispatch_id, each.external_send_id) for each in names]
    return [_Probe(*pair) for pair in zip(sent, known, strict=True)]


def run(probing: Probing, probes: list[_Probe], tables: TablesView) -> Probes:
    """Post and look until all are seen. Raises `TimeoutError`."""
    waiting: deque[tuple[str, float]] = deque()
    visible_ms: list[float] = []
    answers = bytearray()
    started_s = perf_counter()
    posted = 0
    with socket.create_connection(("127.0.0.1", probing.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(visible_ms) < len(probes) or answers.count(_KEPT) < len(probes):
            now_s = perf_counter()
            if now_s > started_s + probing.seconds + _LAST_S:
                raise TimeoutError(f"{len(visible_ms)} visible, {answers.count(_KEPT)} kept of {len(probes)} probes")
            due_s = started_s + posted * PERIOD_S
            if posted < len(probes) and now_s >= due_s:
                sock.sendall(probes[posted].request)
                waiting.append((probes[posted].message_id, due_s))
                posted += 1
            # Committed in the order of the log, so the oldest is seen first.
            while waiting and tables.has(waiting[0][0]):
                visible_ms.append((perf_counter() - waiting.popleft()[1]) * 1e3)
            pause_s = min(_LOOK_S, max(0.0, started_s + posted * PERIOD_S - perf_counter()))
            if select.select([sock], [], [], pause_s if posted < len(probes) else _LOOK_S)[0]:
                answers += sock.recv(_READ_BYTES)
    return Probes(visible_ms, answers.count(_KEPT))


def main(argument: str) -> None:
    """`python -m tests.bench.visibility_probe PROBING`, as JSON."""
    probing = Probing(**orjson.loads(argument))
    probes = _made(int(probing.seconds / PERIOD_S), probing.seed)
    tables = TablesView(Path(probing.directory))
    print("{}", flush=True)
    sys.stdin.readline()
    found = run(probing, probes, tables)
    tables.close()
    print(orjson.dumps(found._asdict()).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
