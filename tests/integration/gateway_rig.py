"""A gateway on real sockets: uvicorn's server, uvloop, and a log in memory that a test can hold or fail.

The log stands in for the disk only: what these tests are about lies between the socket and the log.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import wraps
from hashlib import sha256
from inspect import signature
from typing import ParamSpec

import uvicorn
import uvloop

from ingest.auth import Source
from ingest.gateway import Gateway
from ingest.limits import Limits
from ingest.protocol import protocol_factory
from schemas.ports import Clock, Waiter
from schemas.postback import Postback

TOKEN = "canary-token-0123456789-abcdefghijklmnopqrs"
PATH = f"/in/braze/{TOKEN}"
PATIENCE_S = 5.0  # a test that waits longer has failed
QUICK = replace(Limits(), sweep_period_s=0.02, linger_s=0.3, drain_idle_s=0.02)

P = ParamSpec("P")


def on_uvloop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run an async test on uvloop, as in production, and never longer than a few seconds."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(4 * PATIENCE_S):
                await test(*args, **kwargs)

        uvloop.run(bounded())

    del run.__wrapped__  # else pytest-asyncio takes the coroutine underneath
    run.__signature__ = signature(test)  # type: ignore[attr-defined]  # so that parameters and fixtures are seen
    return run


def token_digest(token: str = TOKEN) -> str:
    """As configured."""
    return sha256(token.encode()).hexdigest()


def braze(**options: object) -> Source:
    """The usual source."""
    settings = {"name": "braze", "provider": "braze", "token_sha256": (token_digest(),)} | options
    return Source(**settings)  # type: ignore[arg-type]  # the options vary


@dataclass
class MemoryLog:
    """Keeps postbacks in a list. `keeps`: settle at once with this word; `None`: only when told to."""

    keeps: bool | None = True
    postbacks: list[Postback] = field(default_factory=list)
    waiters: dict[int, Waiter] = field(default_factory=dict)  # by number, as long as they wait

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """The port's method."""
        self.waiters[len(self.postbacks)] = waiter
        self.postbacks.append(postback)
        if self.keeps is not None:
            self.settle(len(self.postbacks) - 1, kept=self.keeps)

    def settle(self, number: int, *, kept: bool = True) -> None:
        """Say whether one of them is durable."""
        self.waiters.pop(number).settle(kept)

    def settle_rest(self) -> None:
        """Say that all are, and all that come from now on."""
        self.keeps = True
        for number in sorted(self.waiters):
            self.settle(number)

    def can_keep(self) -> bool:
        """The port's method."""
        return bool(self.keeps)

    @property
    def bodies(self) -> list[bytes]:
        """What was kept."""
        return [postback.body for postback in self.postbacks]

    async def holds(self, count: int) -> None:
        """Wait until so many have come."""
        await until(lambda: len(self.postbacks) >= count)


class SystemClock:
    """The real time."""

    def now_ms(self) -> int:
        """The port's method."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """The port's method."""
        return time.monotonic()


class SteadyClock(SystemClock):
    """A date that stands still, so that what was signed stays signed."""

    NOW_S = 1_700_000_000

    def now_ms(self) -> int:
        """The port's method."""
        return self.NOW_S * 1000


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def send_eof(self) -> None:
        """Close our half."""
        self.writer.write_eof()

    async def answer(self) -> bytes:
        """The next response; ours have no bodies."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def status(self) -> int:
        """The next response's code."""
        return int((await self.answer()).split(b" ", 2)[1])

    async def statuses(self, count: int) -> list[int]:
        """The codes of the next responses."""
        return [await self.status() for _ in range(count)]

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset fails the test."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def is_quiet(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for a while, not even an end."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False

    def reset(self) -> None:
        """Be gone in a way the other side can tell from a closed half."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Be gone."""
        self.writer.transport.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


class Rig:
    """A gateway that serves on a port of its own."""

    def __init__(self, gateway: Gateway, log: MemoryLog, port: int) -> None:
        self.gateway = gateway
        self.log = log
        self.port = port
        self._clients: list[Client] = []

    @property
    def refused(self) -> dict[str, int]:
        """Refusals by reason, without the zeros."""
        return {reason: count for reason, count in self.gateway.counters.refused.items() if count}

    @property
    def denied(self) -> dict[str, int]:
        """Reasons of 404, without the zeros."""
        return {reason: count for reason, count in self.gateway.counters.denied.items() if count}

    async def connect(self, data: bytes = b"", *, from_address: str = "127.0.0.1") -> Client:
        """A new connection, and the first thing said on it."""
        opened = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(from_address, 0))
        client = Client(*opened)
        self._clients.append(client)
        client.send(data)
        return client

    async def ask(self, data: bytes) -> bytes:
        """One response on a connection of its own."""
        client = await self.connect(data)
        answer = await client.answer()
        await client.close()
        return answer

    async def status(self, data: bytes) -> int:
        """Its code."""
        return int((await self.ask(data)).split(b" ", 2)[1])

    async def is_empty(self) -> None:
        """Wait until no connection is open; then nothing may be held for any."""
        await until(lambda: self.gateway.counters.open_connections == 0)
        assert self.gateway.counters.partial_bytes == 0

    async def close_clients(self) -> None:
        """All of them."""
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def serving(
    *sources: Source,
    limits: Limits = QUICK,
    log: MemoryLog | None = None,
    clock: Clock | None = None,
    trusted_proxies: Iterable[str] = (),
) -> AsyncIterator[Rig]:
    """Serve until the block ends; then everything must have been given back."""
    log = log or MemoryLog()
    gateway = Gateway(
        sources=sources or (braze(),),
        log=log,
        limits=limits,
        clock=clock or SystemClock(),
        trusted_proxies=tuple(trusted_proxies),
    )
    server = server_of(gateway)
    await server.startup()
    rig = Rig(gateway, log, server.servers[0].sockets[0].getsockname()[1])
    try:
        yield rig
        await rig.close_clients()
        log.settle_rest()
        await rig.is_empty()
    finally:
        await rig.close_clients()
        log.settle_rest()
        for listener in server.servers:  # uvicorn's whole shutdown is the subject of test_gateway_drain
            listener.close()
        gateway.drain()


def server_of(gateway: Gateway) -> uvicorn.Server:
    """Uvicorn's own server around our protocol, loaded but not started."""
    config = uvicorn.Config(
        _no_application,
        host="127.0.0.1",
        port=0,
        http=protocol_factory(gateway),
        ws="none",
        lifespan="off",
        log_config=None,
        backlog=4096,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


async def _no_application(scope: object, _receive: object, _send: object) -> None:
    """Never called: the protocol answers by itself."""
    raise AssertionError(scope)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to become so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 — what is waited for is plain numbers, which set no event
            await asyncio.sleep(0.005)


def post(
    body: bytes = b"{}",
    *fields: str,
    path: str = PATH,
    method: str = "POST",
    version: str = "1.1",
    length: int | None = -1,
) -> bytes:
    """One request; `length` is the body's own unless given, and left out when `None`."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *fields]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, fields: tuple[str, ...] = ()) -> bytes:
    """One request with a chunked body, its last chunk included."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return post(b"", "Transfer-Encoding: chunked", *fields, length=None) + wire + b"0\r\n\r\n"
