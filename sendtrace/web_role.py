"""`sendtrace web`: page and read API on the tables of the sink, without gateway and worker.

Ready is who can read the tables. Without a broker bodies are missing and the audit cannot be made;
everything else is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import uvloop
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import override

from sendtrace import metrics
from sendtrace.kafka_log_view import KafkaLogView
from sendtrace.logs import configure_logs
from sendtrace.metrics_collector import family_of, incident_values, outcome_values
from sendtrace.read_side import KafkaReadSide
from sendtrace.serving import StartError, admin_server, listen, served, stop_signals, url
from sendtrace.settings import Settings, SettingsError
from sendtrace.tables_store import is_on_kafka, open_tables_reader
from sendtrace.web import read_app
from sendtrace.web_answers import json_answer
from sendtrace.web_health import metrics_of
from sinks.tables.tables_reader import TablesReader
from sinks.tables.trouble import TablesError

_PROBE_WAIT_S: Final = 2.0
_UNREADABLE: Final = (sqlite3.Error, TablesError, OSError)
_EMBEDDED: Final = (
    "neither kafka.bootstrap_servers nor tables.postgres is set, or the data directory is one of `sendtrace up`, which"
    " serves page and read API itself"
)

_log = logging.getLogger(__name__)


def run(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address. Raises `SettingsError` where there is nothing for it to read.
    """
    if not is_on_kafka(settings):
        raise SettingsError(_EMBEDDED)
    configure_logs("web")
    try:
        return uvloop.run(_until_stopped(settings, on_ready, notice))
    except StartError as error:
        notice(str(error))
        return 1


async def _until_stopped(settings: Settings, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    stop = stop_signals()
    async with serving(settings, notice=notice) as admin_url:
        on_ready(admin_url)
        await stop.wait()
    return 0


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, notice: Callable[[str], None]) -> AsyncIterator[str]:
    """Everything started; gives the address. Raises `StartError`."""
    admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
    reader = open_tables_reader(settings)
    log = KafkaLogView(settings.kafka.bootstrap_servers, settings.kafka.topic_prefix)
    token = settings.admin.token
    app = read_app(
        KafkaReadSide(reader, log),
        [Route("/readyz", _readyz_of(reader)), Route("/metrics", metrics_of(TablesCollector(reader)))],
        token=None if token is None else token.get_secret_value(),
        host=settings.admin.host,
    )
    with contextlib.closing(reader), contextlib.closing(log):
        async with served(admin_server(app), admin_socket):
            yield url(admin_socket)


def _readyz_of(reader: TablesReader) -> Callable[[Request], Awaitable[Response]]:
    async def readyz(_request: Request) -> Response:
        try:
            await asyncio.wait_for(asyncio.to_thread(reader.last_transition), _PROBE_WAIT_S)
            ready = True
        except (TimeoutError, *_UNREADABLE):
            ready = False
        return json_answer({"ready": ready, "tables": {"readable": ready}}, status=200 if ready else 503)

    return readyz


class TablesCollector(Collector):
    """What a scrape can say of the tables alone."""

    def __init__(self, reader: TablesReader) -> None:
        self._reader = reader

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Asks the database, so never on an event loop."""
        try:
            outcomes = [*outcome_values(self._reader.handled()), *incident_values(self._reader)]
        except _UNREADABLE as error:
            _log.error("metrics: tables cannot be read: %s", error)
            outcomes = []
        yield family_of(metrics.TABLES_READABLE, bool(outcomes))
        for metric, values in outcomes:
            yield family_of(metric, values)
