"""`sendtrace up`: gateway, admin surface and processor for one data directory, from start to drained stop.

This process holds the gateway and the admin surface; the processor is a child (`processor_child`).
The order of stopping is the promise: no new postback, every accepted one durable and answered, then
the processor's last words, then the locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import uvloop

from ingest.file_log import FileLog, LogLimits
from ingest.gateway import Gateway
from ingest.segment_directory import LogDirectoryError
from ingest.segment_retention import delete_expired
from processors.bounce_rules import RulesError
from processors.classify import Classifier
from schemas.ports import Clock
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.incident_steps import incident_step
from sendtrace.logs import configure_logs
from sendtrace.notify_child import NotifyChild, notify_child_of
from sendtrace.notify_targets import check_labels
from sendtrace.personal_keys import keys_of, secret_embedded
from sendtrace.processor_child import ProcessorChild
from sendtrace.read_side import LogView, ReadSide
from sendtrace.serving import (
    Running,
    StartError,
    admin_server,
    background,
    gateway_server,
    listen,
    prepare,
    served,
    stop_signals,
    url,
)
from sendtrace.settings import Settings, SettingsError
from sendtrace.settings_incidents import incident_rules_of
from sendtrace.web import admin_app
from sinks.tables.sqlite_incidents import incidents_waiting
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.trouble import TablesError

_RETENTION_PERIOD_S: Final = 3_600.0

_log = logging.getLogger(__name__)

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
    incident_step(settings)
    try:
        check_labels(settings, Classifier.load(settings.classifier.rules).catalogue)
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
    stop = stop_signals()
    loop = asyncio.get_running_loop()
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
    prepare(paths.directory)
    try:
        secret = secret_embedded(paths, settings, make=True)
    except TablesError as error:
        raise StartError(f"{paths.directory}: {error}") from error
    child = ProcessorChild(
        paths,
        rules=settings.classifier.rules,
        dead_retention_days=settings.storage.dead_retention_days,
        clock=clock,
        personal_mode=settings.personal.mode,
        personal_secret=secret,
        incident_rules=incident_rules_of(settings),
    )
    gateway_socket = listen("gateway", settings.gateway.host, settings.gateway.port, notice)
    admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
    notify = notify_child_of(settings, paths, admin_port=admin_socket.getsockname()[1], clock=clock)
    reader = SqliteReader(paths.tables, keys_of("off", secret).digests)
    limits = LogLimits(segment_bytes=settings.storage.raw_segment_bytes)
    log = FileLog(paths.raw, clock=clock, on_durable=child.publish, limits=limits, not_before=reader.progress())
    gateway = _gateway_of(settings, log, clock)
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
        incidents_waiting=lambda: incidents_waiting(paths.tables),
        notifications=None if notify is None else lambda: notify.report,
    )
    token = settings.admin.token
    admin = admin_app(side, token=None if token is None else token.get_secret_value(), host=settings.admin.host)
    log.start()
    await child.start(log.durable_end)
    running = Running(url(gateway_socket), url(admin_socket))
    async with contextlib.AsyncExitStack() as stack:  # left from the last to the first
        stack.callback(reader.close)
        stack.callback(view.close)
        await stack.enter_async_context(_notifying(notify))
        stack.push_async_callback(child.stop)
        stack.push_async_callback(log.close)
        keep_house = _keep_house(
            paths, keep_days=settings.storage.raw_retention_days, processed=reader.progress, clock=clock
        )
        _housekeeping = await stack.enter_async_context(background(keep_house))
        await stack.enter_async_context(served(admin_server(admin), admin_socket))
        await stack.enter_async_context(served(gateway_server(gateway), gateway_socket))
        stack.callback(gateway.drain)
        yield running, child.unusable


def _gateway_of(settings: Settings, log: FileLog, clock: Clock) -> Gateway:
    return Gateway(
        sources=settings.gateway_sources(),
        log=log,
        limits=settings.gateway.limits,
        clock=clock,
        trusted_proxies=settings.gateway.trusted_proxies,
    )


@contextlib.asynccontextmanager
async def _notifying(child: NotifyChild | None) -> AsyncIterator[None]:
    if child is not None:
        await child.start()
    try:
        yield
    finally:
        if child is not None:
            await child.stop()


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
