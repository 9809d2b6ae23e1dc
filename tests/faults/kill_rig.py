"""A sendtrace that can be killed, senders that remember every answer, and the account both must agree on.

Everything is real: the command itself, sockets, files, SIGKILL. The same seed gives the same traffic
and the same plan of kills, though not the same instants.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast

import orjson

from ingest.file_log_reader import FileLogReader
from schemas.identity import fact_id, message_id
from schemas.records import Audit
from sendtrace.audit import audit
from sendtrace.init_config import write_initial
from sinks.tables.sqlite_reader import SqliteReader
from tests.e2e.up_rig import request

_READY_S: Final = 20.0
_ANSWER_S: Final = 10.0
_STATUSES: Final = ("sent", "processed", "delivered", "bounced")

#: (message id, fact id): what one postback must have become.
Known = tuple[str, str]


class Body(NamedTuple):
    """One postback and what it must become."""

    content: bytes
    known: Known


def traffic(rng: random.Random) -> Iterator[Body]:
    """Braze postbacks without end: four for each message, out of order, some of them again later."""
    waiting: list[Body] = []
    number = 0
    while True:
        number += 1
        waiting += [_body(f"dispatch-{number}-{rng.getrandbits(32):08x}", status, number) for status in _STATUSES]
        rng.shuffle(waiting)
        while len(waiting) > 40:
            body = waiting.pop()
            if rng.random() < 0.1:
                waiting.insert(0, body)
            yield body


def _body(dispatch_id: str, status: str, number: int) -> Body:
    at = f"2026-11-21T10:{number // 60 % 60:02d}:{number % 60:02d}"
    metadata = {f"{status}_at": f"{at}.000+00:00", "external_send_id": f"order-{number}", "campaign_api_id": "c1"}
    content = orjson.dumps({"dispatch_id": dispatch_id, "status": status, "metadata": metadata})
    fact = fact_id(status, status, f"{at}.000Z", None)
    return Body(content, (message_id("braze", dispatch_id, f"order-{number}"), fact))


@dataclass
class Ledger:
    """What the senders were told."""

    kept: Counter[Known] = field(default_factory=Counter)  # answered 200
    unsure: Counter[Known] = field(default_factory=Counter)  # no answer, or 503: may have been kept or not
    refused: Counter[int] = field(default_factory=Counter)  # any other answer; there must be none


class Pace(Protocol):
    """Says when the next postback may be sent; an `asyncio.Event` is one."""

    async def wait(self) -> object:
        """Returns when it may."""
        ...


class Evenly:
    """So many a second, from all senders together."""

    def __init__(self, per_s: float) -> None:
        self._step_s = 1 / per_s
        self._next_s = time.monotonic()

    async def wait(self) -> None:
        """See `Pace`."""
        self._next_s = max(self._next_s + self._step_s, time.monotonic() - 0.1)
        await asyncio.sleep(self._next_s - time.monotonic())


async def sender(
    port: int,
    path: str,
    bodies: Iterator[Body],
    ledger: Ledger,
    stop: asyncio.Event,
    *,
    may_send: Pace | None = None,
) -> None:
    """Post one body after another over one connection, while it may; every other one is sent until it is kept."""
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for number, body in enumerate(bodies):
        if may_send is not None:
            await may_send.wait()
        kept = False
        while not kept and not stop.is_set():
            try:
                connection = connection or await asyncio.open_connection("127.0.0.1", port)
                code = await asyncio.wait_for(_post(*connection, path, body.content), _ANSWER_S)
            except (OSError, EOFError, TimeoutError):
                ledger.unsure[body.known] += 1
                _closed(connection)
                connection = None
                await asyncio.sleep(0.02)
                code = 0
            kept = code == 200
            if kept:
                ledger.kept[body.known] += 1
            elif code == 503:
                ledger.unsure[body.known] += 1
            elif code not in {0, 200}:
                ledger.refused[code] += 1
            if number % 2:  # like Braze: one try, whatever came of it
                break
        if stop.is_set():
            break
    _closed(connection)


def _closed(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if connection is not None:
        connection[1].close()


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> int:
    writer.write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body))
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1])


class Sendtrace:
    """`sendtrace up`, or another role, on one data directory, started again and again.

    `settings` are `SENDTRACE_…` variables.
    """

    def __init__(self, directory: Path, *, role: str = "up", settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._role = role
        self._settings = settings or {}
        self.admin = ""  # host:port, once it is ready
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.config = directory / "sendtrace.toml"
        self.path = dict(write_initial(self.config))["braze"].removeprefix("http://127.0.0.1:8080")
        self.data = directory / "data"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sendtrace", self._role, "--config", str(self.config), "--data", str(self.data)),
            *("--port", str(self.port), "--admin-port", "0"),
            env={**os.environ, **self._settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        said = b""
        while b"ready" not in said:
            line = await asyncio.wait_for(self._process.stdout.readline(), _READY_S)
            said += line
            assert line, f"it ended instead of being ready:\n{said.decode()}"
        self.admin = line.decode().split()[3].removeprefix("http://")
        self._reading = asyncio.ensure_future(self._process.stdout.read())

    async def state(self) -> dict[str, Any]:
        """What /readyz says."""
        _, body = await asyncio.to_thread(request, self.admin, "GET", "/readyz")
        return cast("dict[str, Any]", orjson.loads(body))

    def processor_pids(self) -> list[int]:
        """The processes that `up` started, as the kernel knows them."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]

    async def kill_all(self) -> None:
        """SIGKILL to gateway and processor at once, as when the machine's memory ends."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def kill_gateway(self) -> None:
        """SIGKILL to the gateway's process alone; its processor has to notice and end by itself."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def kill_processor(self) -> None:
        """SIGKILL to the processor alone; the gateway goes on and starts another."""
        for pid in self.processor_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = await asyncio.wait_for(self._process.wait(), _READY_S)
        await self._reading
        return code

    async def caught_up(self, limit_s: float) -> None:
        """Wait until nothing is pending."""
        async with asyncio.timeout(limit_s):
            while self.account()["pending"]:  # noqa: ASYNC110 (another process: there is no event to wait for)
                await asyncio.sleep(0.2)

    def account(self) -> Audit:
        """The audit, from the files alone."""
        return audit(SqliteReader(self.data / "tables.db"), FileLogReader(self.data / "raw"))

    def tables(self) -> sqlite3.Connection:
        """A reader of the tables."""
        return sqlite3.connect(f"file:{self.data / 'tables.db'}?mode=ro", uri=True)


@contextlib.asynccontextmanager
async def under_load(
    product: Sendtrace, seed: int, *, senders: int, may_send: Pace | None = None
) -> AsyncIterator[Ledger]:
    """Senders at work for as long as the block lasts."""
    ledger, stop = Ledger(), asyncio.Event()
    streams = [traffic(random.Random(f"{seed}-{number}")) for number in range(senders)]
    tasks = [
        asyncio.ensure_future(sender(product.port, product.path, each, ledger, stop, may_send=may_send))
        for each in streams
    ]
    yield ledger
    stop.set()
    await asyncio.gather(*tasks)
