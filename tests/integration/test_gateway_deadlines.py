"""Slow and silent senders: who is cut off, when, with what answer, and who is not disturbed."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace

import pytest

from ingest.answers import KEPT, LATE, TOO_SLOW
from tests.integration.gateway_rig import QUICK, Client, Rig, on_uvloop, post, serving, until

SWEEP_S = QUICK.sweep_period_s
DEADLINE_S = 0.15
SLACK_S = 1.0  # of a busy machine; the sweep itself is at most two periods late


async def end_of(client: Client, *, after_s: float = DEADLINE_S) -> bytes:
    """What still comes, checked to end when it should."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    rest = await client.rest()
    took_s = loop.time() - start_s
    assert after_s - 0.01 <= took_s <= after_s + 2 * SWEEP_S + SLACK_S
    return rest


async def drip(client: Client, data: bytes, *, every_s: float = 0.02) -> None:
    """A byte at a time until the other side has had enough."""
    for at in data:
        client.send(bytes([at]))
        await asyncio.sleep(every_s)


@on_uvloop
async def test_a_silent_connection_is_closed_without_a_word() -> None:
    async with serving(limits=replace(QUICK, header_deadline_s=DEADLINE_S)) as rig:
        assert await end_of(await rig.connect()) == b""

    assert rig.refused == {}


@on_uvloop
async def test_dripping_headers_are_cut_off_however_steadily_they_come() -> None:
    async with serving(limits=replace(QUICK, header_deadline_s=DEADLINE_S)) as rig:
        client = await rig.connect()
        dripping = asyncio.create_task(drip(client, b"POST /in/a/b HTTP/1.1\r\n" + b"X: y\r\n" * 20))
        assert await end_of(client) == TOO_SLOW.close_bytes
        dripping.cancel()

    assert rig.refused == {"too_slow": 1}


@on_uvloop
async def test_a_first_head_is_due_from_the_connection_not_from_its_first_byte() -> None:
    async with serving(limits=replace(QUICK, header_deadline_s=0.8)) as rig:
        client = await rig.connect()
        await asyncio.sleep(0.6)
        client.send(b"POST")
        start_s = asyncio.get_running_loop().time()
        assert await client.rest() == TOO_SLOW.close_bytes
        assert asyncio.get_running_loop().time() - start_s < 0.6


@on_uvloop
async def test_a_later_head_has_its_own_deadline_from_its_first_byte() -> None:
    async with serving(limits=replace(QUICK, header_deadline_s=DEADLINE_S, idle_deadline_s=2)) as rig:
        client = await rig.connect(post())
        assert await client.status() == 200
        await asyncio.sleep(2 * DEADLINE_S)
        client.send(b"POST")
        assert await end_of(client) == TOO_SLOW.close_bytes


@pytest.mark.parametrize("fields", [(), ("Transfer-Encoding: chunked",)])
@on_uvloop
async def test_a_dripping_body_is_cut_off(fields: tuple[str, ...]) -> None:
    async with serving(limits=replace(QUICK, body_deadline_s=DEADLINE_S)) as rig:
        client = await rig.connect(post(b"", *fields, length=None if fields else 100))
        await until(lambda: rig.gateway.counters.open_connections == 1)
        dripping = asyncio.create_task(drip(client, b"1\r\nx\r\n" * 20))
        assert await end_of(client) == TOO_SLOW.close_bytes
        dripping.cancel()

    assert rig.log.postbacks == []
    assert rig.gateway.counters.sources["braze"].refused == 1


@on_uvloop
async def test_a_slow_body_within_its_time_is_kept() -> None:
    async with serving(limits=replace(QUICK, header_deadline_s=DEADLINE_S, body_deadline_s=2)) as rig:
        client = await rig.connect(post(b"", length=10))
        await drip(client, b"0123456789", every_s=DEADLINE_S / 5)
        assert await client.status() == 200


@on_uvloop
async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(limits=replace(QUICK, idle_deadline_s=DEADLINE_S)) as rig:
        client = await rig.connect(post() * 3)
        await client.statuses(3)
        assert await end_of(client) == b""


@on_uvloop
async def test_a_connection_that_waits_for_the_log_is_not_idle() -> None:
    async with serving(limits=replace(QUICK, idle_deadline_s=0.05, header_deadline_s=0.05)) as rig:
        rig.log.keeps = None
        client = await rig.connect(post())
        await rig.log.holds(1)
        assert await client.is_quiet(0.2)
        rig.log.settle(0)
        assert await client.status() == 200


@pytest.mark.parametrize("word", [True, False])
@on_uvloop
async def test_a_log_that_does_not_answer_is_503_and_its_late_word_is_ignored(*, word: bool) -> None:
    async with serving(limits=replace(QUICK, answer_deadline_s=DEADLINE_S)) as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one"))
        assert await client.answer() == LATE.keep_bytes
        assert rig.gateway.counters.in_flight_bytes > 0, "the log still holds it"
        rig.log.settle(0, kept=word)
        assert await client.is_quiet()
        rig.log.keeps = True
        client.send(post(b"two"))
        assert await client.answer() == KEPT.keep_bytes

    assert rig.refused == {"late": 1}
    assert rig.gateway.counters.in_flight_bytes == 0


@on_uvloop
async def test_late_answers_keep_their_order_among_others() -> None:
    async with serving(limits=replace(QUICK, answer_deadline_s=DEADLINE_S)) as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two") + post(b"three"))
        await rig.log.holds(3)
        rig.log.settle(1)
        assert await client.statuses(3) == [503, 200, 503]
        rig.log.settle_rest()
        assert await client.is_quiet()


@on_uvloop
async def test_a_sender_that_never_reads_is_dropped() -> None:
    limits = replace(QUICK, write_deadline_s=DEADLINE_S, pipelined_requests=1000)
    async with serving(limits=limits) as rig:
        client = await rig.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        sending = asyncio.create_task(send_for_ever(client))
        await until(lambda: rig.gateway.counters.open_connections == 1)
        await rig.is_empty()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def send_for_ever(client: Client) -> None:
    while True:
        client.send(post(b"") * 1000)
        await client.writer.drain()


@on_uvloop
async def test_a_refused_sender_that_never_closes_is_closed() -> None:
    async with serving(limits=replace(QUICK, linger_s=DEADLINE_S)) as rig:
        client = await rig.connect(b"garbage\r\n\r\n")
        assert await client.status() == 400
        await rig.is_empty()


@on_uvloop
async def test_a_refused_sender_that_never_stops_sending_is_closed() -> None:
    async with serving(limits=replace(QUICK, linger_s=60, linger_bytes=100_000)) as rig:
        client = await rig.connect(post(length=10_000_000))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(client), 4)
        await rig.is_empty()


async def idle_connections(rig: Rig, count: int) -> None:
    for _ in range(count):
        await rig.connect()
    await until(lambda: rig.gateway.counters.open_connections >= count)


@on_uvloop
async def test_thousands_of_idle_connections_disturb_nobody() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 3000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * count + 500)), hard))
    limits = replace(QUICK, connections_per_address=12_000, sweep_period_s=0.1)
    try:
        async with serving(limits=limits) as rig:
            await idle_connections(rig, count)
            start_s = asyncio.get_running_loop().time()
            assert await rig.status(post()) == 200
            assert asyncio.get_running_loop().time() - start_s < SLACK_S
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
