"""What every role that serves HTTP shares: a prepared directory, listening sockets, servers, signals.

Nothing here knows what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from ingest.gateway import Gateway
from ingest.protocol import protocol_factory
from sendtrace.settings_model import AdminSettings

#: The admin address, and the work beside it, which only ends by an error.
Serving = AbstractAsyncContextManager[tuple[str, asyncio.Task[None]]]

_BACKLOG: Final = 4_096
_GRACE_S: Final = 7  # the gateway's own drain deadline lies below
_ADMIN_GRACE_S: Final = 1
_STARTED_POLL_S: Final = 0.01


class Running(NamedTuple):
    """Where a started sendtrace answers."""

    gateway_url: str
    admin_url: str


class StartError(RuntimeError):
    """It cannot start on this machine as it is; the text is one line for the person who started it."""


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Do `work` beside the block, and cancel it when the block ends."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def prepare(directory: Path) -> None:
    """Make a data directory, and take as many descriptors as there may be. Raises `StartError`."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(f"{directory}: cannot be the data directory: {error.strerror}; choose another") from error
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a connection is a file: take as many as the machine grants
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(what: str, host: str, port: int, notice: Callable[[str], None]) -> socket.socket:
    """A listening socket on `port`, or on a free one when that is taken, which is said."""
    family, kind, protocol, _, address = _resolve(what, host, port)
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            sock.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            sock.bind((address[0], 0, *address[2:]))
            notice(f"{what}: port {port} is taken, using {sock.getsockname()[1]}")
    except OSError as error:
        sock.close()
        raise StartError(f"{what}: cannot listen on {host} port {port}: {error.strerror}; set another") from error
    return sock


def _resolve(what: str, host: str, port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise StartError(f"{what}: {host} is no address of this machine: {error.strerror}; set {what}.host") from error


def url(sock: socket.socket) -> str:
    """Where a listening socket answers."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: `run` has the signals."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn wants for an application; the gateway's protocol answers every request itself."""
    del scope, receive, send  # uvicorn tries an application without arguments, and takes one for a factory
    raise AssertionError("the gateway's protocol never calls an application")


def gateway_server(gateway: Gateway) -> Server:
    """The ingest port's server."""
    config = uvicorn.Config(
        _nothing,
        interface="asgi3",
        http=protocol_factory(gateway),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return Server(config)


def admin_server(app: ASGIApp) -> Server:
    """The admin port's server."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_ADMIN_GRACE_S,
    )
    return Server(config)


@contextlib.asynccontextmanager
async def served(server: Server, sock: socket.socket) -> AsyncIterator[None]:
    """Serve until the block ends, then stop as gracefully as the server's settings say."""
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(_STARTED_POLL_S)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def stop_signals() -> asyncio.Event:
    """An event that is set on SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def until_stopped(serving: Callable[[], Serving], *, on_ready: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT, then 0. Raises what ended the work when it was not a signal."""
    stopped = asyncio.ensure_future(stop_signals().wait())
    try:
        async with serving() as (admin_url, working):
            on_ready(admin_url)
            await asyncio.wait([stopped, working], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
    finally:
        stopped.cancel()
    return 0


@contextlib.asynccontextmanager
async def working_beside(
    settings: AdminSettings,
    admin: ASGIApp,
    work: Callable[[], Coroutine[Any, Any, None]],
    *,
    notice: Callable[[str], None],
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """The admin surface and the work beside it; leaving cancels the work and waits for its end. Raises `StartError`."""
    admin_socket = listen("admin", settings.host, settings.port, notice)
    async with served(admin_server(admin), admin_socket), background(work()) as working:
        yield url(admin_socket), working
