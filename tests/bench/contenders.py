"""Who handles a raw topic: `sendtrace worker`, plain loop, Faust agent, quixstreams; and who fills it: the gateway.

Each works on topics of its own, in a group of its own. How far it is, is asked of the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from schemas.topics import RAW, RECEIPTS
from sendtrace.worker_process import _CACHED_MESSAGES
from sendtrace.worker_role import GROUP
from tests.bench.faust_agent import AgentTask
from tests.bench.kafka_side import Asked, Kafka
from tests.bench.peer_environment import QUIXSTREAMS, python_with
from tests.bench.plain_loop import PlainTask
from tests.bench.processes import BenchError, helper
from tests.bench.quix_task import QuixTask
from tests.faults.kill_rig import Sendtrace
from tests.faults.worker_rig import Worker

_CHILD_S: Final = 30.0
_LOOK_S: Final = 0.05


class Place(NamedTuple):
    """Where a contender works: the topics behind `prefix`, files below `directory`."""

    kafka: Kafka
    prefix: str
    directory: Path


class Contender(NamedTuple):
    """`started` gives its process ids, `handled` how many raw records it is done with."""

    name: str
    started: Callable[[Place], AbstractAsyncContextManager[tuple[int, ...]]]
    handled: Callable[[Asked, str], Awaitable[int]]


class Server(NamedTuple):
    """Where to post, and whose CPU time counts."""

    port: int
    path: str
    pid: int


@asynccontextmanager
async def gateway(place: Place) -> AsyncIterator[Server]:
    """The command; its topics must be there. Raises `BenchError` if it does not stop with 0."""
    directory = place.directory / "gateway"
    directory.mkdir()
    settings = {"SENDTRACE_KAFKA": place.kafka.address, "SENDTRACE_KAFKA__TOPIC_PREFIX": place.prefix}
    product = Sendtrace(directory, role="gateway", settings=settings)
    await product.start()
    try:
        yield Server(product.port, product.path, _pid(product))
        if (code := await product.stop()) != 0:
            raise BenchError(f"sendtrace gateway ended with {code} after SIGTERM")
    finally:
        await product.kill_all()


@asynccontextmanager
async def worker_of(product: Worker) -> AsyncIterator[tuple[int, ...]]:
    """The command and its one process, once there; both count. Raises `BenchError` if that had to be replaced."""
    await product.start(wait=False)
    try:
        async with asyncio.timeout(_CHILD_S):
            while not product.children():  # noqa: ASYNC110  another process: there is no event to wait for
                await asyncio.sleep(_LOOK_S)
        pids = (_pid(product), *product.children())
        yield pids
        if (_pid(product), *product.children()) != pids:
            raise BenchError(f"the worker's process ended meanwhile:\n{product.said}")
        if (code := await product.stop()) != 0:
            raise BenchError(f"sendtrace worker ended with {code} after SIGTERM:\n{product.said}")
    finally:
        await product.kill()


def _worker(place: Place) -> AbstractAsyncContextManager[tuple[int, ...]]:
    return worker_of(Worker(place.kafka.address, place.prefix, place.directory))


def _pid(product: Worker | Sendtrace) -> int:
    assert product._process is not None
    return product._process.pid


@asynccontextmanager
async def _plain(place: Place) -> AsyncIterator[tuple[int, ...]]:
    task = PlainTask(place.kafka.address, place.prefix, _group(place.prefix))
    with helper("tests.bench.plain_loop", task) as process:
        process.told()
        yield (process.pid,)
        if (code := process.stop()) != 0:
            raise BenchError(f"the plain loop ended with {code}; its words are above")


@asynccontextmanager
async def _faust(place: Place) -> AsyncIterator[tuple[int, ...]]:
    task = AgentTask(place.kafka.address, place.prefix, _group(place.prefix), str(place.directory))
    with helper("tests.bench.faust_agent", task) as process:  # killed: it may take long to leave its group
        process.told()
        yield (process.pid,)


@asynccontextmanager
async def _quix(place: Place) -> AsyncIterator[tuple[int, ...]]:
    python = await asyncio.to_thread(python_with, QUIXSTREAMS)
    states = str(place.directory)
    task = QuixTask(place.kafka.address, place.prefix, _group(place.prefix), states, _CACHED_MESSAGES)
    with helper("tests.bench.quix_frame", task, python=python) as process:
        process.told()
        yield (process.pid,)
        if (code := process.stop()) != 0:
            raise BenchError(f"the quixstreams application ended with {code}; its words are above")


def _group(prefix: str) -> str:
    """As the worker names its own."""
    return f"{prefix}{GROUP}"


async def _committed(asked: Asked, prefix: str) -> int:
    return await asked.handled(_group(prefix), prefix + RAW.name)


async def _told(asked: Asked, prefix: str) -> int:
    """Faust and quixstreams commit now and then, but write a receipt for each event."""
    return await asked.written(prefix + RECEIPTS.name)


WORKER: Final = Contender("worker", _worker, _committed)
PLAIN: Final = Contender("plain", _plain, _committed)
FAUST: Final = Contender("faust", _faust, _told)
QUIX: Final = Contender("quix", _quix, _told)
