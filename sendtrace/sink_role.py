"""`sendtrace sink tables`: what workers wrote to Kafka into tables, with health and metrics on an admin port."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvloop
from starlette.requests import Request
from starlette.responses import Response

from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app, require_brokers
from sendtrace.logs import configure_logs
from sendtrace.metrics_sink import SinkCollector
from sendtrace.processor_loop import AlreadyRunningError, processor_lock
from sendtrace.serving import StartError, admin_server, listen, prepare, served, stop_signals, url
from sendtrace.settings import Settings
from sendtrace.tables_store import open_tables_writer, postgres_of, retention_of
from sendtrace.web_answers import json_answer
from sinks.tables.kafka_sink import KafkaSink
from sinks.tables.migrations import MigrationError


def run(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address. Raises `SettingsError` when no broker is named.
    """
    require_brokers(settings)
    configure_logs("sink")
    try:
        return uvloop.run(_until_stopped(settings, on_ready=on_ready, notice=notice))
    except (StartError, AlreadyRunningError, MigrationError) as error:
        notice(str(error))
        return 1


async def _until_stopped(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Raises what ended the sink when it was not a signal."""
    stopped = asyncio.ensure_future(stop_signals().wait())
    try:
        async with serving(settings, notice=notice) as (admin_url, working):
            on_ready(admin_url)
            await asyncio.wait([stopped, working], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
    finally:
        stopped.cancel()
    return 0


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, *, notice: Callable[[str], None]
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """Everything started; leaving finishes what is being written. The task only ends by an error.

    Raises `StartError` and `AlreadyRunningError`.
    """
    paths = DataPaths(settings.storage.directory)
    sink = KafkaSink(
        brokers=settings.kafka.bootstrap_servers,
        prefix=settings.kafka.topic_prefix,
        open_writer=lambda: open_tables_writer(settings),
        retention=lambda: retention_of(settings, SystemClock().now_ms()),
    )
    admin = health_app(settings, SinkCollector(sink.stats), _readyz_of(sink))
    with _alone(paths, settings):
        admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
        async with served(admin_server(admin), admin_socket):
            working = asyncio.get_running_loop().create_task(sink.run())
            try:
                yield url(admin_socket), working
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)


@contextlib.contextmanager
def _alone(paths: DataPaths, settings: Settings) -> Iterator[None]:
    """The right to write the tables. Of Postgres the writer takes it there, and this machine keeps nothing."""
    if postgres_of(settings) is not None:
        yield
        return
    prepare(paths.directory)
    if paths.raw.is_dir():
        raise StartError(f"{paths.directory}: holds the raw log of `sendtrace up`; give the sink another directory")
    with processor_lock(paths, wait=False):
        yield


def _readyz_of(sink: KafkaSink) -> Callable[[Request], Awaitable[Response]]:
    """Ready is what has caught up once and is at work; the lag is shown, and changes nothing after that."""

    async def readyz(_request: Request) -> Response:
        lag: Counter[str] = Counter()
        for (topic, _partition), offsets in sink.stats.lag.items():
            lag[topic] += offsets
        ready = sink.is_ready()
        state = {"ready": ready, "caught_up": sink.stats.caught_up, "trouble": sink.stats.trouble, "lag": lag}
        return json_answer(state, status=200 if ready else 503)

    return readyz
