"""`sendtrace worker`: processes that handle raw postbacks from Kafka, kept running, and how they are on an admin port.

The work is done in children (`sendtrace.worker_process`), so that this one can always answer, and can end
and replace one that a body holds up, that was cut off, or that was frozen and has lost its partitions.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import uvloop
from starlette.requests import Request
from starlette.responses import Response

from schemas.topics import IN_USE
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_role import health_app, require_brokers
from sendtrace.kafka_topics import largest_record_bytes
from sendtrace.kafka_wait import until_topics_are_there
from sendtrace.logs import configure_logs
from sendtrace.metrics_worker import WorkerCollector
from sendtrace.personal_keys import secret_on_kafka
from sendtrace.serving import StartError, admin_server, background, listen, prepare, served, stop_signals, url
from sendtrace.settings import Settings
from sendtrace.web_answers import json_answer
from sendtrace.worker_child import WorkerChild
from sendtrace.worker_reports import WorkerTask

#: Behind the prefix of the topics, so that two sendtraces on one cluster are two groups.
GROUP: Final = "processor"

_log = logging.getLogger(__name__)


def run(settings: Settings, *, processes: int, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop, 1 after trouble.

    `on_ready` gets the admin address once every process has its partitions and they are recovered.
    Raises `SettingsError` when no broker is named.
    """
    require_brokers(settings)
    configure_logs("worker")
    if secret_on_kafka(settings) is None and settings.personal.mode != "off":
        _log.warning("personal.key is not set: recipients are not collected, and cannot be erased")
    try:
        return uvloop.run(_until_stopped(settings, processes, on_ready, notice))
    except StartError as error:
        notice(str(error))
        return 1


async def _until_stopped(
    settings: Settings, processes: int, on_ready: Callable[[str], None], notice: Callable[[str], None]
) -> int:
    stop = stop_signals()
    async with serving(settings, processes=processes, notice=notice) as (admin_url, children):
        ready = asyncio.ensure_future(_when_ready(children))
        ready.add_done_callback(lambda done: None if done.cancelled() else on_ready(admin_url))
        await stop.wait()
        ready.cancel()
    return 0


async def _when_ready(children: list[WorkerChild]) -> None:
    while not all(child.ready() for child in children):  # noqa: ASYNC110  it is told to us twice a second, not at once
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def serving(
    settings: Settings, *, processes: int, notice: Callable[[str], None]
) -> AsyncIterator[tuple[str, list[WorkerChild]]]:
    """All processes started; leaving lets each finish its transaction and end. Raises `StartError`."""
    paths, clock = DataPaths(settings.storage.directory), SystemClock()
    secret = secret_on_kafka(settings)
    prepare(paths.worker)
    admin_socket = listen("admin", settings.admin.host, settings.admin.port, notice)
    with _alone(paths.worker):
        instance = _instance(paths.worker)
        children = [
            WorkerChild(
                f"worker process {number}",
                _tasks(settings, paths.worker, instance, number),
                may_start=partial(until_topics_are_there, settings.kafka, IN_USE),
                clock=clock,
                personal_secret=secret,
            )
            for number in range(processes)
        ]
        admin = health_app(settings, WorkerCollector(children), _readyz_of(children))
        async with contextlib.AsyncExitStack() as stack:  # left from the last to the first
            await stack.enter_async_context(served(admin_server(admin), admin_socket))
            stack.push_async_callback(_stop_all, children)
            for child in children:
                child.start()
                _watching = await stack.enter_async_context(background(child.watch()))
            yield url(admin_socket), children


async def _stop_all(children: list[WorkerChild]) -> None:
    await asyncio.gather(*(child.stop() for child in children))


def _tasks(settings: Settings, directory: Path, instance: str, number: int) -> Callable[[bool], WorkerTask]:
    kafka, rules = settings.kafka, settings.classifier.rules

    def task(careful: bool) -> WorkerTask:  # noqa: FBT001  the one thing that changes between two starts
        return WorkerTask(
            directory=str(directory / str(number)),
            instance=f"{instance}-{number}",
            brokers=list(kafka.bootstrap_servers),
            topic_prefix=kafka.topic_prefix,
            group=f"{kafka.topic_prefix}{GROUP}",
            record_bytes=largest_record_bytes(settings.gateway.limits.body_bytes),
            rules=None if rules is None else str(rules),
            careful=careful,
            personal_mode=settings.personal.mode,
        )

    return task


def _instance(directory: Path) -> str:
    """The name of this worker in its group, made once for a data directory: a restart takes its own place again."""
    path = directory / "instance"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        name = uuid4().hex[:16]
        path.write_text(f"{name}\n", encoding="ascii")
        return name


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """The right to work on a data directory. Raises `StartError` when another worker has it."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"{directory}: another worker is working on this directory; give each its own with --data"
            ) from error
        yield
    finally:
        os.close(handle)


def _readyz_of(children: list[WorkerChild]) -> Callable[[Request], Awaitable[Response]]:
    """Ready is who has its partitions, all recovered, and gets something done."""

    async def readyz(_request: Request) -> Response:
        ready = all(child.ready() for child in children)
        processes = [
            {
                "ready": child.ready(),
                "restarts": child.restarts,
                **(child.report or {"joined": False, "partitions": {}}),
            }
            for child in children
        ]
        return json_answer({"ready": ready, "processes": processes}, status=200 if ready else 503)

    return readyz
