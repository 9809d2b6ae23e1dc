"""How a sink runs: admin port, signals, one at a time; with tables behind it on Kafka, ready when it has caught up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
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
from sendtrace.serving import Serving, StartError, prepare, until_stopped, working_beside
from sendtrace.settings import Settings
from sendtrace.tables_store import postgres_of
from sendtrace.web_answers import json_answer
from sinks.tables.kafka_session import KafkaSession
from sinks.tables.migrations import MigrationError

Session = KafkaSession[Any]  # whatever way it has to the tables

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
        return uvloop.run(until_stopped(serving, on_ready=on_ready))
    except _STARTING as error:
        notice(str(error))
        return 1


@contextlib.asynccontextmanager
async def serving_session(
    settings: Settings, sink: Session, collector: Collector, *, lock: Path, notice: Callable[[str], None]
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """Everything started; leaving finishes what is being written. `lock` is taken where the tables are in SQLite.

    Raises `StartError` and `AlreadyRunningError`.
    """
    admin = health_app(settings, collector, _readyz_of(sink))
    with _alone(DataPaths(settings.storage.directory), settings, lock):
        async with working_beside(settings.admin, admin, sink.run, notice=notice) as serving:
            yield serving


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
