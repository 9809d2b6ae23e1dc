"""`sendtrace up`: gateway, admin surface and processor for one data directory, from start to drained stop.

This process holds the gateway and the admin surface; the processor is a child (`processor_child`).
The order of stopping is the promise: no new postback, every accepted one durable and answered, then
the processor's last words, then the locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Final, NamedTuple

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from ingest.file_log import FileLog, LogLimits
from ingest.gateway import Gateway
from ingest.protocol import protocol_factory
from ingest.segment_directory import LogDirectoryError
from ingest.segment_retention import delete_expired
from processors.bounce_rules import RulesError
from processors.classify import Classifier
from schemas.ports import Clock
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.logs import configure_logs
from sendtrace.processor_child import ProcessorChild
from sendtrace.read_side import LogView, ReadSide
from sendtrace.settings import Settings, SettingsError
from sendtrace.web import admin_app
from sinks.tables.sqlite_reader import SqliteReader

_BACKLOG: Final = 4_096
_GRACE_S: Final = 7  # the gateway's own drain deadline lies below
_ADMIN_GRACE_S: Final = 1
_RETENTION_PERIOD_S: Final = 3_600.0
_STARTED_POLL_S: Final = 0.01

_log = logging.getLogger(__name__)


class Running(NamedTuple):
    """Where a started sendtrace answers."""

    gateway_url: str
    admin_url: str


class StartError(RuntimeError):
    """It cannot start on this machine as it is; the text is one line for the person who started it."""


Alongside = Callable[[Running, asyncio.Event], Awaitable[None]]


def run(
    settings: Settings,
    *,
    on_ready: Callable[[Running], None],
    notice: Callable[[str], None],
    alongside: Alongside | None = None,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `alongside` runs beside it once it is ready; when it returns, everything stops. Raises
    `SettingsError` for a rules file that the processor could not use.
    """
    try:
        Classifier.load(settings.classifier.rules)
    except RulesError as error:
        raise SettingsError(str(error)) from error
    configure_logs("gateway")
    try:
        return uvloop.run(_with_signals(settings, on_ready=on_ready, notice=notice, alongside=alongside))
    except (StartError, LogDirectoryError) as error:
        notice(str(error))
        return 1


async def _with_signals(
    settings: Settings,
    *,
    on_ready: Callable[[Running], None],
    notice: Callable[[str], None],
    alongside: Alongside | None,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings, notice=notice) as (running, failed):
        on_ready(running)
        beside = [asyncio.ensure_future(alongside(running, stop))] if alongside is not None else []
        waits = [*beside, loop.create_task(stop.wait()), loop.create_task(failed.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await asyncio.gather(*beside)
        for wait in waits:
            wait.cancel()
        return 1 if failed.is_set() else 0


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, notice: Callable[[str], None]) -> AsyncIterator[tuple[Running, asyncio.Event]]:
    """Everything started; leaving drains and stops it. The event is set when it cannot go on.

    Raises `StartError` and `LogDirectoryError`.
    """
    paths = DataPaths(settings.storage.directory)
    clock = SystemClock()
    _prepare(paths)
    child = ProcessorChild(
        paths,
        rules=settings.classifier.rules,
        dead_retention_days=settings.storage.dead_retention_days,
        clock=clock,
    )
    gateway_socket = _listen("gateway", settings.gateway.host, settings.gateway.port, notice)
    admin_socket = _listen("admin", settings.admin.host, settings.admin.port, notice)
    reader = SqliteReader(paths.tables)
    log = FileLog(
        paths.raw,
        clock=clock,
        on_durable=child.publish,
        limits=LogLimits(segment_bytes=settings.storage.raw_segment_bytes),
        not_before=reader.progress(),
    )
    gateway = Gateway(
        sources=settings.gateway_sources(),
        log=log,
        limits=settings.gateway.limits,
        clock=clock,
        trusted_proxies=settings.gateway.trusted_proxies,
    )
    view = LogView(paths.raw, durable_end=lambda: log.durable_end)
    side = ReadSide(
        reader=reader,
        log=view,
        gateway_counters=lambda: gateway.counters,
        log_stats=lambda: log.stats,
        durable_end=lambda: log.durable_end,
        processor_restarts=lambda: child.restarts,
        processor_alive=lambda: child.alive,
        can_keep=gateway.can_keep,
    )
    token = settings.admin.token
    admin = admin_app(side, token=None if token is None else token.get_secret_value(), host=settings.admin.host)
    log.start()
    await child.start(log.durable_end)
    running = Running(_url(gateway_socket), _url(admin_socket))
    async with contextlib.AsyncExitStack() as stack:  # left from the last to the first
        stack.callback(reader.close)
        stack.callback(view.close)
        stack.push_async_callback(child.stop)
        stack.push_async_callback(log.close)
        keep_house = _keep_house(
            paths, keep_days=settings.storage.raw_retention_days, processed=reader.progress, clock=clock
        )
        await stack.enter_async_context(_background(keep_house))
        await stack.enter_async_context(_served(_admin_server(admin), admin_socket))
        await stack.enter_async_context(_served(_gateway_server(gateway), gateway_socket))
        stack.callback(gateway.drain)
        yield running, child.unusable


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _prepare(paths: DataPaths) -> None:
    try:
        paths.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StartError(
            f"{paths.directory}: cannot be the data directory: {error.strerror}; choose another"
        ) from error
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a connection is a file: take as many as the machine grants
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(what: str, host: str, port: int, notice: Callable[[str], None]) -> socket.socket:
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


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: `run` has the signals."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn wants for an application; the gateway's protocol answers every request itself."""
    del scope, receive, send  # uvicorn tries an application without arguments, and takes one for a factory
    raise AssertionError("the gateway's protocol never calls an application")


def _gateway_server(gateway: Gateway) -> _Server:
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
    return _Server(config)


def _admin_server(app: ASGIApp) -> _Server:
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
    return _Server(config)


@contextlib.asynccontextmanager
async def _served(server: _Server, sock: socket.socket) -> AsyncIterator[None]:
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


async def _keep_house(paths: DataPaths, *, keep_days: int, processed: Callable[[], int], clock: Clock) -> None:
    """Delete raw segments past their age, on and on; a failure is logged and tried again."""
    while True:
        try:
            await asyncio.to_thread(
                delete_expired, paths.raw, now_ms=clock.now_ms(), processed=processed(), keep_days=keep_days
            )
        except OSError as error:
            _log.error("raw log: retention failed: %s; trying again later", error)
        await asyncio.sleep(_RETENTION_PERIOD_S)
