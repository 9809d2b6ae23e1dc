"""`sendtrace sink notifications`: tells people of the incidents in the tables; health and metrics on an admin port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import uvloop
from starlette.requests import Request
from starlette.responses import Response

from processors.classify import Classifier
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app
from sendtrace.logs import configure_logs
from sendtrace.metrics_notifications import NotificationsCollector
from sendtrace.notify_process import notify_lock, report_of
from sendtrace.notify_targets import base_url_of, check_labels, targets_of
from sendtrace.processor_loop import AlreadyRunningError
from sendtrace.serving import StartError, prepare, until_stopped, working_beside
from sendtrace.settings import Settings, SettingsError
from sendtrace.tables_store import postgres_of
from sendtrace.web_answers import json_answer
from sinks.notifications.engine import Notifier
from sinks.notifications.sqlite_store import SqliteNotifications
from sinks.notifications.store import NotificationStore

NO_TARGETS = (
    "notifications.targets is empty, expected a table [notifications.targets.NAME]; add one (docs/notifications.md)"
)


def run(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address. Raises `SettingsError` without targets, or for labels that do not exist.
    """
    if not settings.notifications.targets:
        raise SettingsError(NO_TARGETS)
    check_labels(settings, Classifier.load(settings.classifier.rules).catalogue)
    configure_logs("notifications")
    try:
        return uvloop.run(until_stopped(lambda: serving(settings, notice=notice), on_ready=on_ready))
    except (StartError, AlreadyRunningError) as error:
        notice(str(error))
        return 1


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, *, notice: Callable[[str], None]
) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """Everything started; leaving leaves what is being sent to the next start. The task only ends by an error.

    Raises `StartError` and `AlreadyRunningError`.
    """
    notifier = Notifier(
        targets_of(settings.notifications, base_url_of(settings)),
        open_store=lambda: open_store(settings),
        clock=SystemClock(),
    )
    collector = NotificationsCollector(lambda: report_of(notifier.stats))
    admin = health_app(settings, collector, _readyz_of(notifier))
    with _alone(settings):
        async with working_beside(settings.admin, admin, notifier.run, notice=notice) as started:
            yield started


def open_store(settings: Settings) -> NotificationStore:
    """On the tables that `settings` name. Raises `TablesError` while they are not made."""
    postgres = postgres_of(settings)
    if postgres is None:
        return SqliteNotifications(DataPaths(settings.storage.directory).tables)
    from sinks.notifications.postgres_store import PostgresNotifications  # noqa: PLC0415  psycopg, where there is one

    return PostgresNotifications(postgres)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One process tells. Of Postgres the store sees to that."""
    if postgres_of(settings) is not None:
        yield
        return
    paths = DataPaths(settings.storage.directory)
    prepare(paths.directory)
    with notify_lock(paths, wait=False):
        yield


def _readyz_of(notifier: Notifier) -> Callable[[Request], Awaitable[Response]]:
    """Ready is what has its tables. A target that is down does not change that: nobody else could tell it either."""

    async def readyz(_request: Request) -> Response:
        report = report_of(notifier.stats)
        ready = report["trouble"] is None
        state = {"ready": ready, "trouble": report["trouble"], "waiting": report["waiting"], "parked": report["parked"]}
        return json_answer(state, status=200 if ready else 503)

    return readyz
