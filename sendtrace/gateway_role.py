"""`sendtrace gateway`: the ingest port on Kafka, with a spool for when the broker will not.

It starts and serves without a broker. The admin port here has health and metrics only: tables are
another role's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import uvloop
from starlette.requests import Request
from starlette.responses import Response

from ingest.gateway import Gateway
from ingest.kafka_log import KafkaLog
from ingest.segment_directory import LogDirectoryError
from ingest.spooled_log import SpooledLog
from processors.classify import Classifier
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from schemas.topics import RAW
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app, require_brokers
from sendtrace.logs import configure_logs
from sendtrace.metrics_gateway import GatewayCollector
from sendtrace.serving import (
    Running,
    StartError,
    admin_server,
    gateway_server,
    listen,
    prepare,
    served,
    stop_signals,
    url,
)
from sendtrace.settings import Settings
from sendtrace.web_answers import json_answer


def run(settings: Settings, *, on_ready: Callable[[Running], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    Raises `SettingsError` when no broker is named.
    """
    require_brokers(settings)
    configure_logs("gateway")
    try:
        return uvloop.run(_until_stopped(settings, on_ready=on_ready, notice=notice))
    except (StartError, LogDirectoryError) as error:
        notice(str(error))
        return 1


async def _until_stopped(
    settings: Settings, *, on_ready: Callable[[Running], None], notice: Callable[[str], None]
) -> int:
    stop = stop_signals()
    async with serving(settings, notice=notice) as running:
        on_ready(running)
        await stop.wait()
    return 0


@contextlib.asynccontextmanager
async def serving(settings: Settings, *, notice: Callable[[str], None]) -> AsyncIterator[Running]:
    """Everything started; leaving refuses new postbacks, settles those under way, then stops.

    Raises `StartError` and `LogDirectoryError`.
    """
    paths, clock, kafka = DataPaths(settings.storage.directory), SystemClock(), settings.kafka
    prepare(paths.directory)
    gateway_socket = listen("gateway", settings.gateway.host, settings.gateway.port, notice)
    admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
    front = KafkaLog(
        brokers=kafka.bootstrap_servers,
        topic=f"{kafka.topic_prefix}{RAW.name}",
        key_of=KeyFinder(Normalizer(Classifier.load(None))),
    )
    log = SpooledLog(front, paths.spool, clock=clock, most_bytes=kafka.spool_bytes)
    gateway = Gateway(
        sources=settings.gateway_sources(),
        log=log,
        limits=settings.gateway.limits,
        clock=clock,
        trusted_proxies=settings.gateway.trusted_proxies,
    )
    admin = health_app(settings, GatewayCollector(gateway, front, log), _readyz_of(gateway, front, log))
    front.start()
    log.start()
    async with contextlib.AsyncExitStack() as stack:  # left from the last to the first
        stack.push_async_callback(log.close)
        stack.push_async_callback(front.close)
        await stack.enter_async_context(served(admin_server(admin), admin_socket))
        await stack.enter_async_context(served(gateway_server(gateway), gateway_socket))
        stack.callback(gateway.drain)
        yield Running(url(gateway_socket), url(admin_socket))


def _readyz_of(gateway: Gateway, front: KafkaLog, log: SpooledLog) -> Callable[[Request], Awaitable[Response]]:
    """Ready is who can keep a postback, be it in the spool: a broker that is away is shown and changes nothing."""

    async def readyz(_request: Request) -> Response:
        ready = gateway.can_keep()
        state = {
            "ready": ready,
            "kafka": {"can_keep": front.can_keep()},
            "spool": {"waiting_bytes": log.waiting_bytes, "full": log.stats.full},
        }
        return json_answer(state, status=200 if ready else 503)

    return readyz
