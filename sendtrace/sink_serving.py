"""How a sink on Kafka with tables behind it runs: admin port, signals, one at a time, ready when it has caught up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import uvloop
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app, require_brokers
from sendtrace.logs import configure_logs
from sendtrace.processor_loop import AlreadyRunningError, directory_lock
from sendtrace.serving import StartError, admin_server, listen, prepare, served, stop_signals, url
from sendtrace.settings import Settings
from sendtrace.tables_store import postgres_of
from sendtrace.web_answers import json_answer
from sinks.tables.kafka_session import KafkaSession
from sinks.tables.migrations import MigrationError

Session = KafkaSession[Any]  # whatever way it has to the tables
#: The admin address, and the work, which only ends by an error.
Serving = AbstractAsyncContextManager[tuple[str, asyncio.Task[None]]]

_STARTING: Final = (StartError, AlreadyRunningError, MigrationError)


def run_sink(
    settings: Settings,
    serving: Callable[[], Serving],
    *,
    name: str,
    on_ready: Callable[[str], None],
    notice: Callable[[str], None],
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address. Raises `SettingsError` when no broker is named.
    """
    require_brokers(settings)
    configure_logs(name)
    try:
        return uvloop.run(_until_stopped(serving, on_ready=on_ready))
    except _STARTING as error:
        notice(str(error))
        return 1


async def _until_stopped(serving: Callable[[], Serving], *, on_ready: Callable[[str], None]) -> int:
    """Raises what ended the sink when it was not a signal."""
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
async def serving_session(
    settings: Settings, sink: Session, collector: Collector, *, lock: Path, notice: Callable[[str], None]
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """Everything started; leaving finishes what is being written. `lock` is taken where the tables are in SQLite.

    Raises `StartError` and `AlreadyRunningError`.
    """
    admin = health_app(settings, collector, _readyz_of(sink))
    with _alone(DataPaths(settings.storage.directory), settings, lock):
        admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
        async with served(admin_server(admin), admin_socket):
            working = asyncio.get_running_loop().create_task(sink.run())
            try:
                yield url(admin_socket), working
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)


@contextlib.contextmanager
def _alone(paths: DataPaths, settings: Settings, lock: Path) -> Iterator[None]:
    """The right to write there. Of Postgres the writer takes it there, and this machine keeps nothing."""
    if postgres_of(settings) is not None:
        yield
        return
    prepare(paths.directory)
    if paths.raw.is_dir():
        raise StartError(f"{paths.directory}: holds the raw log of `sendtrace up`; give the sink another directory")
    with directory_lock(lock, wait=False):
        yield


def _readyz_of(sink: Session) -> Callable[[Request], Awaitable[Response]]:
    """Ready is what has caught up once and is at work; the lag is shown, and changes nothing after that."""

    async def readyz(_request: Request) -> Response:
        lag: Counter[str] = Counter()
        for (topic, _partition), offsets in sink.session_stats.lag.items():
            lag[topic] += offsets
        ready, stats = sink.is_ready(), sink.session_stats
        state = {"ready": ready, "caught_up": stats.caught_up, "trouble": stats.trouble, "lag": lag}
        return json_answer(state, status=200 if ready else 503)

    return readyz
