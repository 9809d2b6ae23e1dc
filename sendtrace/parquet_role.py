"""`sendtrace sink parquet`: transitions into Parquet files for as long as it runs, with health and metrics.

It reads the tables, whoever writes them, and nothing else: beside `sendtrace up` as on Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import uvloop
from starlette.requests import Request
from starlette.responses import Response

from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app
from sendtrace.logs import configure_logs
from sendtrace.metrics_parquet import ParquetCollector
from sendtrace.serving import StartError, admin_server, listen, served, stop_signals, url
from sendtrace.settings import Settings
from sendtrace.tables_store import is_on_kafka, postgres_of
from sendtrace.web_answers import json_answer
from sinks.parquet.rolls import Limits
from sinks.parquet.root import open_root
from sinks.parquet.rows import Rows
from sinks.parquet.sink import ParquetSink, SinkState
from sinks.parquet.sqlite_source import SqliteRows

#: A piece of rows or a file on its way to S3; what is not finished then is made again by the next start.
_STOP_WITHIN_S: Final = 8.0


def open_rows(settings: Settings | None, tables: Path) -> Rows:
    """The tables to read: in Postgres where the settings of the roles on Kafka name one, else the SQLite file."""
    database = postgres_of(settings) if settings is not None and is_on_kafka(settings) else None
    if database is None:
        return SqliteRows(tables)
    from sinks.parquet.postgres_source import PostgresRows  # noqa: PLC0415  psycopg, for those who have a Postgres

    return PostgresRows(database)


def run(settings: Settings, to: str, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address. Raises `ParquetError` for a place that can be none.
    """
    configure_logs("parquet")
    open_root(to, s3_endpoint=settings.parquet.s3_endpoint)  # wrong words end it; what is away now may come back
    try:
        return uvloop.run(_until_stopped(settings, to, on_ready=on_ready, notice=notice))
    except StartError as error:
        notice(str(error))
        return 1


def sink_of(settings: Settings, to: str) -> ParquetSink:
    """The sink as the settings want it."""
    paths = DataPaths(settings.storage.directory)
    wanted = settings.parquet
    return ParquetSink(
        root=lambda: open_root(to, s3_endpoint=wanted.s3_endpoint),
        rows=open_rows(settings, paths.tables),
        clock=SystemClock(),
        roll_ms=wanted.roll_seconds * 1_000,
        limits=Limits(wanted.roll_bytes, wanted.roll_rows),
        spool=paths.parquet,
    )


async def _until_stopped(
    settings: Settings, to: str, *, on_ready: Callable[[str], None], notice: Callable[[str], None]
) -> int:
    sink = sink_of(settings, to)
    admin = health_app(settings, ParquetCollector(sink.state), _readyz_of(sink.state))
    admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
    stopped = stop_signals()
    async with served(admin_server(admin), admin_socket):
        # A thread that the interpreter does not wait for: a put to a store that hangs must not hold up a stop.
        ended = asyncio.Event()
        faults: list[BaseException] = []
        thread = threading.Thread(target=_work, args=(sink, asyncio.get_running_loop(), ended, faults), daemon=True)
        thread.start()
        on_ready(url(admin_socket))
        waiting = [asyncio.ensure_future(event.wait()) for event in (stopped, ended)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        sink.stop()
        await asyncio.wait([waiting[1]], timeout=_STOP_WITHIN_S)
        for task in waiting:
            task.cancel()
    for fault in faults:
        raise fault
    return 0


def _work(
    sink: ParquetSink, loop: asyncio.AbstractEventLoop, ended: asyncio.Event, faults: list[BaseException]
) -> None:
    try:
        sink.run()
    except BaseException as fault:  # noqa: BLE001  raised again by the thread that waits
        faults.append(fault)
    finally:
        with contextlib.suppress(RuntimeError):  # the loop did not wait any longer
            loop.call_soon_threadsafe(ended.set)


def _readyz_of(state: SinkState) -> Callable[[Request], Awaitable[Response]]:
    """Ready is what has caught up once and is at work; what waits is shown, and changes nothing after that."""

    async def readyz(_request: Request) -> Response:
        ready = state.caught_up and state.trouble is None
        told = {
            "ready": ready,
            "caught_up": state.caught_up,
            "trouble": state.trouble,
            "lag": {"rows": state.waiting_rows},
        }
        return json_answer(told, status=200 if ready else 503)

    return readyz
