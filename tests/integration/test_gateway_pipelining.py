"""Several requests in flight on one connection: order, bounds and back-pressure; and 100-continue."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ingest.answers import CONTINUE, KEPT, NOT_FOUND, NOT_KEPT
from tests.integration.gateway_rig import QUICK, chunked, on_uvloop, post, serving, until


@pytest.mark.parametrize("seed", range(4))
@on_uvloop
async def test_answers_keep_the_order_of_requests_whatever_order_the_log_has(seed: int) -> None:
    rng = random.Random(seed)
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(b"".join(post(b"%d" % number) for number in range(30)))
        await rig.log.holds(30)
        kept = [rng.random() < 0.5 for _ in range(30)]
        for number in rng.sample(range(30), 30):
            rig.log.settle(number, kept=kept[number])
        assert await client.statuses(30) == [200 if word else 503 for word in kept]

    assert rig.log.bodies == [b"%d" % number for number in range(30)]


@on_uvloop
async def test_nothing_is_answered_before_the_first_is_settled() -> None:
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two"))
        await rig.log.holds(2)
        rig.log.settle(1)
        assert await client.is_quiet()
        rig.log.settle(0, kept=False)
        assert await client.answer() == NOT_KEPT.keep_bytes
        assert await client.answer() == KEPT.keep_bytes


@on_uvloop
async def test_a_refusal_waits_for_its_turn_and_is_the_last() -> None:
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(path="/in/braze/x") + post(b"never"))
        await rig.log.holds(1)
        assert await client.is_quiet()
        rig.log.settle(0)
        assert await client.rest() == KEPT.keep_bytes + NOT_FOUND.close_bytes

    assert rig.log.bodies == [b"one"]


@on_uvloop
async def test_requests_in_flight_are_bounded_and_the_rest_waits() -> None:
    async with serving(limits=replace(QUICK, pipelined_requests=4)) as rig:
        rig.log.keeps = None
        client = await rig.connect(b"".join(post(b"%d" % number) for number in range(10)))
        await rig.log.holds(4)
        assert await client.is_quiet()
        assert len(rig.log.postbacks) == 4
        assert rig.gateway.counters.partial_bytes == 6 * len(post(b"0"))
        rig.log.settle(0)
        await rig.log.holds(5)
        assert await client.is_quiet() is False
        assert len(rig.log.postbacks) == 5


@on_uvloop
async def test_everything_behind_the_bound_is_served_in_the_end() -> None:
    async with serving(limits=replace(QUICK, pipelined_requests=3)) as rig:
        rig.log.keeps = None
        client = await rig.connect(b"".join(post(b"%d" % number) for number in range(50)) + chunked(b"50"))
        for number in range(51):
            await rig.log.holds(number + 1)
            rig.log.settle(number)
        assert await client.statuses(51) == [200] * 51

    assert rig.log.bodies == [b"%d" % number for number in range(51)]


@on_uvloop
async def test_reading_stops_while_too_much_is_in_flight() -> None:
    """What the sender can push into us beyond its bound is one read and the kernel's buffers, not more."""
    async with serving(limits=replace(QUICK, pipelined_requests=1)) as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"x") + post(b"y" * 100_000) * 200)
        await rig.log.holds(1)
        assert await client.is_quiet(0.2)
        assert rig.gateway.counters.partial_bytes < 1_000_000


@on_uvloop
async def test_a_connection_lost_with_requests_in_flight_harms_nothing() -> None:
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two"))
        await rig.log.holds(2)
        client.reset()
        await rig.is_empty()
        rig.log.settle_rest()
        assert rig.gateway.counters.sources["braze"].kept == 2
        assert rig.gateway.counters.in_flight_bytes == 0


@on_uvloop
async def test_continue_is_said_once_a_head_is_welcome() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"", "Expect: 100-Continue", length=5))
        assert await client.answer() == CONTINUE
        client.send(b"hello")
        assert await client.answer() == KEPT.keep_bytes
        client.send(chunked(b"more", fields=("Expect: 100-continue",))[:-14])
        assert await client.answer() == CONTINUE
        client.send(chunked(b"more")[-14:])
        assert await client.answer() == KEPT.keep_bytes

    assert rig.log.bodies == [b"hello", b"more"]


@pytest.mark.parametrize("body", [b"", b"here already"])
@on_uvloop
async def test_continue_is_not_said_when_there_is_nothing_to_wait_for(body: bytes) -> None:
    async with serving() as rig:
        client = await rig.connect(post(body, "Expect: 100-continue"))
        assert await client.answer() == KEPT.keep_bytes


@on_uvloop
async def test_continue_is_not_said_when_the_body_is_coming_anyway() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"half", "Expect: 100-continue", length=8))
        assert await client.is_quiet()
        client.send(b"half")
        assert await client.answer() == KEPT.keep_bytes


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post(b"", "Expect: 100-continue", path="/in/braze/x", length=5), 404),
        (post(b"", "Expect: 100-continue", method="PUT", length=5), 405),
        (post(b"", "Expect: 100-continue", length=600_000), 413),
        (post(b"", "Expect: a-pony", length=5), 417),
    ],
)
@on_uvloop
async def test_an_unwelcome_head_is_refused_instead_of_continued(head: bytes, status: int) -> None:
    async with serving() as rig:
        client = await rig.connect(head)
        assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)


@on_uvloop
async def test_continue_waits_for_the_answers_before_it() -> None:
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"first") + post(b"", "Expect: 100-continue", length=5))
        await rig.log.holds(1)
        assert await client.is_quiet()
        rig.log.settle(0)
        assert await client.answer() == KEPT.keep_bytes
        assert await client.answer() == CONTINUE
        rig.log.keeps = True
        client.send(b"hello")
        assert await client.answer() == KEPT.keep_bytes


@on_uvloop
async def test_http_1_0_is_never_told_to_continue() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"", "Expect: 100-continue", length=5, version="1.0"))
        await until(lambda: rig.gateway.counters.open_connections == 1)
        assert await client.is_quiet()
        client.send(b"hello")
        assert await client.rest() == KEPT.close_bytes
