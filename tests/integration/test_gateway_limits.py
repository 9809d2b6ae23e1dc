"""Every limit over a real socket: at its bound the request is kept, one past it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.answers import (
    BAD_FRAMING,
    BODY_TOO_LARGE,
    CONNECTIONS_FULL,
    HEAD_TOO_LARGE,
    IN_FLIGHT_FULL,
    KEPT,
    PARTIAL_FULL,
)
from ingest.gateway import RECORD_OVERHEAD_BYTES
from ingest.limits import Limits
from tests.integration.gateway_rig import PATH, QUICK, chunked, on_uvloop, post, serving, until

DEFAULTS = replace(Limits(), sweep_period_s=0.02, linger_s=0.3, drain_idle_s=0.02)


@on_uvloop
async def test_a_body_of_512_kib_is_kept_and_one_byte_more_is_not() -> None:
    body = b"x" * DEFAULTS.body_bytes
    async with serving(limits=DEFAULTS) as rig:
        assert await rig.ask(post(body)) == KEPT.keep_bytes
        assert await rig.ask(post(body + b"x")) == BODY_TOO_LARGE.close_bytes

    assert [len(kept) for kept in rig.log.bodies] == [DEFAULTS.body_bytes]


@on_uvloop
async def test_a_chunked_body_of_512_kib_is_kept_and_one_byte_more_is_not() -> None:
    half = b"x" * (DEFAULTS.body_bytes // 2)
    async with serving(limits=DEFAULTS) as rig:
        assert await rig.ask(chunked(half, half)) == KEPT.keep_bytes
        assert await rig.ask(chunked(half, half, b"x")) == BODY_TOO_LARGE.close_bytes

    assert [len(kept) for kept in rig.log.bodies] == [DEFAULTS.body_bytes]


@on_uvloop
async def test_a_large_body_is_refused_at_its_head_and_chunks_when_announced() -> None:
    async with serving(limits=replace(QUICK, body_bytes=100)) as rig:
        client = await rig.connect(post(length=101))
        assert await client.rest() == BODY_TOO_LARGE.close_bytes
        client = await rig.connect(
            post(b"64\r\n" + b"x" * 100 + b"\r\n1\r\n", "Transfer-Encoding: chunked", length=None)
        )
        assert await client.rest() == BODY_TOO_LARGE.close_bytes

    assert rig.refused == {"body_too_large": 2}
    assert rig.gateway.counters.sources["braze"].refused == 2


@pytest.mark.parametrize(("more", "answer"), [(0, KEPT.keep_bytes), (1, HEAD_TOO_LARGE.close_bytes)])
@on_uvloop
async def test_a_request_line_may_have_8_kib(more: int, answer: bytes) -> None:
    line = f"POST {PATH}? HTTP/1.1"
    path = f"{PATH}?{'q' * (DEFAULTS.request_line_bytes - len(line) + more)}"
    async with serving(limits=DEFAULTS) as rig:
        assert await rig.ask(post(path=path)) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, KEPT.keep_bytes), (1, HEAD_TOO_LARGE.close_bytes)])
@on_uvloop
async def test_headers_may_have_16_kib(more: int, answer: bytes) -> None:
    plain = len(post(b"", "X: ")) - len(f"POST {PATH} HTTP/1.1\r\n") - 2
    filler = "x" * (DEFAULTS.headers_bytes - plain + more)
    async with serving(limits=DEFAULTS) as rig:
        assert await rig.ask(post(b"", f"X: {filler}")) == answer


@pytest.mark.parametrize(("more", "answer"), [(0, KEPT.keep_bytes), (1, HEAD_TOO_LARGE.close_bytes)])
@on_uvloop
async def test_there_may_be_100_header_fields(more: int, answer: bytes) -> None:
    async with serving(limits=DEFAULTS) as rig:
        assert await rig.ask(post(b"", *["X: y"] * (98 + more))) == answer


@on_uvloop
async def test_a_chunk_extension_of_megabytes_is_refused_and_not_held() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"5;", "Transfer-Encoding: chunked", length=None))
        await until(lambda: rig.gateway.counters.open_connections == 1)
        for _ in range(10):
            client.send(b"x" * 100_000)
        assert await client.rest() == BAD_FRAMING.close_bytes
        assert rig.gateway.counters.partial_bytes == 0


@on_uvloop
async def test_bytes_in_flight_are_bounded_until_the_log_has_settled() -> None:
    room = 2 * (100 + RECORD_OVERHEAD_BYTES)
    async with serving(limits=replace(QUICK, in_flight_bytes=room)) as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"x" * 100) + post(b"y" * 100))
        await rig.log.holds(2)
        assert await rig.ask(post(b"")) == IN_FLIGHT_FULL.keep_bytes
        assert await rig.ask(post(b"", length=1)) == IN_FLIGHT_FULL.close_bytes, (
            "not waited for: its body would not fit"
        )
        rig.log.settle(0)
        rig.log.settle(1, kept=False)
        assert await client.statuses(2) == [200, 503]
        rig.log.keeps = True
        assert await rig.ask(post(b"x" * (room - RECORD_OVERHEAD_BYTES))) == KEPT.keep_bytes
        assert await rig.ask(post(b"x" * (room - RECORD_OVERHEAD_BYTES + 1))) == IN_FLIGHT_FULL.keep_bytes


@on_uvloop
async def test_half_received_bodies_are_bounded_together() -> None:
    async with serving(limits=replace(QUICK, partial_bytes=1000)) as rig:
        first = await rig.connect(post(b"x" * 600, length=601))
        await until(lambda: rig.gateway.counters.partial_bytes == 600)
        second = await rig.connect(post(b"y" * 400, length=401))
        await until(lambda: rig.gateway.counters.partial_bytes == 1000)
        third = await rig.connect(post(b"z", length=2))
        assert await third.rest() == PARTIAL_FULL.close_bytes
        first.send(b"x")
        second.send(b"y")
        assert [await first.status(), await second.status()] == [200, 200]
        assert await rig.status(post(b"again")) == 200

    assert rig.log.bodies == [b"x" * 601, b"y" * 401, b"again"]


@on_uvloop
async def test_half_received_heads_count_too() -> None:
    async with serving(limits=replace(QUICK, partial_bytes=1000)) as rig:
        await rig.connect(b"POST /" + b"x" * 700)
        await until(lambda: rig.gateway.counters.partial_bytes > 700)
        client = await rig.connect(b"POST /" + b"x" * 700)
        assert await client.rest() == PARTIAL_FULL.close_bytes


@on_uvloop
async def test_one_connection_too_many_is_told_so() -> None:
    async with serving(limits=replace(QUICK, open_connections=3)) as rig:
        clients = [await rig.connect() for _ in range(3)]
        await until(lambda: rig.gateway.counters.open_connections == 3)
        assert await (await rig.connect()).rest() == CONNECTIONS_FULL.close_bytes
        await clients[0].close()
        await until(lambda: rig.gateway.counters.open_connections == 2)
        assert await rig.status(post()) == 200


@on_uvloop
async def test_one_connection_too_many_from_an_address_is_told_so() -> None:
    async with serving(limits=replace(QUICK, connections_per_address=2)) as rig:
        clients = [await rig.connect() for _ in range(2)]
        await until(lambda: rig.gateway.counters.open_connections == 2)
        assert await (await rig.connect()).rest() == CONNECTIONS_FULL.close_bytes
        await clients[0].close()
        await until(lambda: rig.gateway.counters.open_connections == 1)
        assert await rig.status(post()) == 200


@on_uvloop
async def test_a_trusted_proxy_may_have_more_connections() -> None:
    async with serving(limits=replace(QUICK, connections_per_address=2), trusted_proxies=["127.0.0.1/32"]) as rig:
        for _ in range(10):
            client = await rig.connect(post())
            assert await client.status() == 200
        assert rig.gateway.counters.open_connections == 10


@on_uvloop
async def test_heads_remembered_are_bounded_and_their_loss_changes_nothing() -> None:
    async with serving(limits=replace(QUICK, known_heads=4, known_head_bytes=400)) as rig:
        client = await rig.connect()
        for number in range(50):
            client.send(post(b"x" * (number % 10), *(["Y: " + "z" * 300] if number % 7 == 0 else [])))
            assert await client.status() == 200
            assert len(rig.gateway.known_heads) <= 4
        assert max(map(len, rig.gateway.known_heads)) <= 400
