"""Requests that are taken: what is kept of them, and every way HTTP allows to send one."""

from __future__ import annotations

import gzip

import pytest

from ingest.answers import KEPT
from tests.integration.gateway_rig import PATH, TOKEN, braze, chunked, on_uvloop, post, serving, token_digest


@on_uvloop
async def test_a_postback_is_kept_as_it_came() -> None:
    async with serving() as rig:
        answer = await rig.ask(post(b'{"a": \xff\x00}\n', "Content-Type: application/json; x=y"))

    (kept,) = rig.log.postbacks
    assert answer == KEPT.keep_bytes
    assert kept.body == b'{"a": \xff\x00}\n'
    assert (kept.source, kept.provider, kept.kind) == ("braze", "braze", "postback")
    assert (kept.content_type, kept.content_encoding) == ("application/json; x=y", "")


@on_uvloop
async def test_receipts_have_growing_ids_and_a_time() -> None:
    async with serving() as rig:
        client = await rig.connect(post() * 3)
        await client.statuses(3)

    ids = [postback.receipt_id for postback in rig.log.postbacks]
    assert ids == sorted(set(ids))
    assert len({postback.received_ms for postback in rig.log.postbacks} - {0}) >= 1


@on_uvloop
async def test_a_compressed_body_is_not_touched() -> None:
    body = gzip.compress(b"{}")
    async with serving() as rig:
        assert await rig.status(post(body, "Content-Encoding: gzip")) == 200

    assert [(kept.body, kept.content_encoding) for kept in rig.log.postbacks] == [(body, "gzip")]


@pytest.mark.parametrize(
    "fields", [(), ("Content-Type: text/html",), ("Content-Type: multipart/form-data; boundary=x",)]
)
@on_uvloop
async def test_no_content_type_is_asked_for_or_refused(fields: tuple[str, ...]) -> None:
    async with serving() as rig:
        assert await rig.status(post(b"not json", *fields)) == 200

    assert rig.log.bodies == [b"not json"]


@pytest.mark.parametrize("request_bytes", [post(b""), post(b"", length=None)])
@on_uvloop
async def test_an_empty_body_is_kept_too(request_bytes: bytes) -> None:
    async with serving() as rig:
        assert await rig.status(request_bytes) == 200

    assert rig.log.bodies == [b""]


@on_uvloop
async def test_a_connection_serves_one_request_after_another() -> None:
    async with serving() as rig:
        client = await rig.connect()
        for number in range(20):
            client.send(post(b"%d" % number, *(("X-New: 1",) if number % 3 == 0 else ())))
            assert await client.answer() == KEPT.keep_bytes

    assert rig.log.bodies == [b"%d" % number for number in range(20)]


@on_uvloop
async def test_a_request_may_come_byte_by_byte() -> None:
    async with serving() as rig:
        client = await rig.connect()
        for at in post(b"slow"):
            client.send(bytes([at]))
            await client.writer.drain()
            await client.is_quiet(0.0005)
        assert await client.status() == 200

    assert rig.log.bodies == [b"slow"]


@on_uvloop
async def test_head_and_body_may_come_apart_on_a_known_connection() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"one"))
        assert await client.status() == 200
        client.send(post(b"two")[:-3])
        assert await client.is_quiet()
        client.send(b"two" + post(b"tri")[:-1])
        assert await client.status() == 200
        client.send(b"i")
        assert await client.status() == 200

    assert rig.log.bodies == [b"one", b"two", b"tri"]


@on_uvloop
async def test_chunks_are_joined() -> None:
    async with serving() as rig:
        client = await rig.connect(chunked(b"hello ", b"world") + post(b"next"))
        assert await client.statuses(2) == [200, 200]

    assert rig.log.bodies == [b"hello world", b"next"]


@on_uvloop
async def test_trailers_and_short_extensions_are_passed_over() -> None:
    wire = post(b"", "Transfer-Encoding: chunked", length=None) + b"2;a=b\r\nhi\r\n0\r\nDigest: x\r\n\r\n"
    async with serving() as rig:
        client = await rig.connect(wire + post(b"next"))
        assert await client.statuses(2) == [200, 200]

    assert rig.log.bodies == [b"hi", b"next"]


@on_uvloop
async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"old", "Connection: keep-alive", version="1.0"))
        assert await client.rest() == KEPT.close_bytes

    assert rig.log.bodies == [b"old"]


@on_uvloop
async def test_connection_close_is_followed() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"last", "Connection: close"))
        assert await client.rest() == KEPT.close_bytes


@on_uvloop
async def test_nothing_is_taken_behind_a_request_that_closes() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"last", "Connection: close") + post(b"too many"))
        await client.answer()
        await rig.is_empty()

    assert rig.log.bodies == [b"last"]


@pytest.mark.parametrize(
    "fields",
    [
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"),
        ("Upgrade: anything",),
    ],
)
@on_uvloop
async def test_an_upgrade_is_ignored_and_its_body_and_what_follows_are_kept(fields: tuple[str, ...]) -> None:
    async with serving() as rig:
        client = await rig.connect(
            post(b"body", *fields) + post(b"next") + chunked(b"more", fields=fields) + post(b"z")
        )
        assert await client.statuses(4) == [200] * 4

    assert rig.log.bodies == [b"body", b"next", b"more", b"z"]


@pytest.mark.parametrize(
    "path", [PATH + "?", PATH + "?a=b&c", f"http://example.org{PATH}", f"HTTPS://example.org:8080{PATH}?x=/in/a/b"]
)
@on_uvloop
async def test_queries_and_absolute_targets_are_understood(path: str) -> None:
    async with serving() as rig:
        assert await rig.status(post(path=path)) == 200


@on_uvloop
async def test_a_sender_that_closes_its_half_is_still_answered() -> None:
    async with serving() as rig:
        rig.log.keeps = None
        client = await rig.connect(post(b"one") + post(b"two"))
        client.send_eof()
        await rig.log.holds(2)
        assert await client.is_quiet()
        rig.log.settle(1)
        rig.log.settle(0)
        assert await client.rest() == KEPT.keep_bytes + KEPT.close_bytes


@on_uvloop
async def test_sources_are_kept_apart() -> None:
    async with serving(
        braze(), braze(name="nrs", provider="nrs360", token_sha256=("0" * 64, token_digest(TOKEN + "2")))
    ) as rig:
        assert await rig.status(post(b"1")) == 200
        assert await rig.status(post(b"2", path=f"/in/nrs/{TOKEN}2")) == 200
        assert await rig.status(post(b"3", path=f"/in/nrs/{TOKEN}")) == 404

    assert [(kept.source, kept.provider, kept.body) for kept in rig.log.postbacks] == [
        ("braze", "braze", b"1"),
        ("nrs", "nrs360", b"2"),
    ]


@on_uvloop
async def test_counters_add_up_by_source() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"12345") * 3)
        await client.statuses(3)
        await rig.status(post(length=10_000_000))

    counts = rig.gateway.counters.sources["braze"]
    assert (counts.accepted, counts.accepted_bytes, counts.kept, counts.not_kept, counts.refused) == (3, 15, 3, 0, 1)
    assert rig.gateway.counters.in_flight_bytes == 0
