"""Stopping: what was accepted is answered, nothing new is begun, and uvicorn's shutdown comes to an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from ingest.answers import KEPT, STOPPING
from ingest.gateway import Gateway
from ingest.limits import Limits
from tests.integration.gateway_rig import (
    PATIENCE_S,
    QUICK,
    MemoryLog,
    Rig,
    SystemClock,
    braze,
    on_uvloop,
    post,
    server_of,
    until,
)

LIMITS = replace(QUICK, drain_idle_s=0.1, drain_deadline_s=0.3)


@asynccontextmanager
async def stopping_later(limits: Limits = LIMITS) -> AsyncIterator[tuple[Rig, asyncio.Event]]:
    """A server that runs as in production and stops as on SIGTERM when the event is set."""
    log = MemoryLog()
    gateway = Gateway(sources=[braze()], log=log, limits=limits, clock=SystemClock())
    server = server_of(gateway)
    stop = asyncio.Event()

    async def stop_when_told() -> None:
        await stop.wait()
        server.should_exit = True

    serving = asyncio.gather(server.serve(), stop_when_told())
    await until(lambda: server.started)
    rig = Rig(gateway, log, server.servers[0].sockets[0].getsockname()[1])
    try:
        yield rig, stop
        async with asyncio.timeout(PATIENCE_S):
            await serving
        assert gateway.counters.open_connections == 0
    finally:
        stop.set()
        await rig.close_clients()
        await serving


@on_uvloop
async def test_requests_in_flight_are_answered_and_the_last_says_close() -> None:
    async with stopping_later() as (rig, stop):
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two"))
        await rig.log.holds(2)
        stop.set()
        await until(lambda: rig.gateway.stopping)
        assert await client.is_quiet(2 * LIMITS.drain_deadline_s), "they are not given up"
        rig.log.settle_rest()
        assert await client.rest() == KEPT.keep_bytes + KEPT.close_bytes


@on_uvloop
async def test_a_request_already_on_its_way_to_an_idle_connection_is_served() -> None:
    async with stopping_later() as (rig, stop):
        client = await rig.connect(post(b"one"))
        assert await client.status() == 200
        stop.set()
        await until(lambda: rig.gateway.stopping)
        client.send(post(b"two"))
        assert await client.rest() == KEPT.close_bytes

    assert rig.log.bodies == [b"one", b"two"]


@on_uvloop
async def test_half_a_request_may_be_finished_while_stopping() -> None:
    async with stopping_later() as (rig, stop):
        client = await rig.connect(post(b"one")[:-1])
        await until(lambda: rig.gateway.counters.partial_bytes > 0)
        stop.set()
        await until(lambda: rig.gateway.stopping)
        await asyncio.sleep(1.5 * LIMITS.drain_idle_s)
        client.send(b"e")
        assert await client.rest() == KEPT.close_bytes


@on_uvloop
async def test_half_a_request_that_does_not_end_is_refused_with_503() -> None:
    async with stopping_later() as (rig, stop):
        client = await rig.connect(post(b"one")[:-1])
        await until(lambda: rig.gateway.counters.partial_bytes > 0)
        stop.set()
        assert await client.rest() == STOPPING.close_bytes

    assert rig.refused == {"stopping": 1}


@on_uvloop
async def test_idle_connections_are_closed_and_new_ones_not_accepted() -> None:
    async with stopping_later() as (rig, stop):
        clients = [await rig.connect(post()) for _ in range(20)]
        for client in clients:
            assert await client.status() == 200
        silent = await rig.connect()
        await until(lambda: rig.gateway.counters.open_connections == 21)
        stop.set()
        assert [await client.rest() for client in (*clients, silent)] == [b""] * 21
        assert not rig.gateway.can_keep()


@on_uvloop
async def test_nothing_behind_the_requests_in_flight_is_begun() -> None:
    async with stopping_later(replace(LIMITS, pipelined_requests=1)) as (rig, stop):
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two"))
        await rig.log.holds(1)
        stop.set()
        await until(lambda: rig.gateway.stopping)
        rig.log.settle(0)
        assert await client.rest() == KEPT.close_bytes

    assert rig.log.bodies == [b"one"]
