"""Requests that are not taken: each row of the answers table, to the byte, and nothing kept."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

import pytest

from ingest.answers import (
    BAD_FRAMING,
    BODY_TOO_LARGE,
    CUT_SHORT,
    HEAD_TOO_LARGE,
    NOT_FOUND,
    NOT_KEPT,
    UNKNOWN_EXPECTATION,
    WRONG_METHOD,
    Answer,
)
from ingest.signatures import signature
from tests.integration.gateway_rig import PATH, TOKEN, Rig, SteadyClock, braze, on_uvloop, post, serving, token_digest

SECRET = "a secret of twenty-four."
GUARDED = (
    braze(),
    braze(name="basic", token_sha256=(token_digest("basic"),), basic_user="me", basic_password="canary-password"),
    braze(name="signed", token_sha256=(token_digest("signed"),), hmac_secrets=(SECRET, "another secret of ours..")),
    braze(name="listed", token_sha256=(token_digest("listed"),), allow_addresses=("198.51.100.0/24", "2001:db8::/32")),
    braze(name="rotating", token_sha256=(token_digest("old"), token_digest("new"))),
)


def to(source: str, token: str | None = None) -> str:
    return f"/in/{source}/{token or source}"


def signed(
    body: bytes, *, at_s: int = SteadyClock.NOW_S, secret: str = SECRET, scheme: bytes = b"v1,"
) -> tuple[str, ...]:
    at = b"%d" % at_s
    made = (scheme + signature(secret.encode(), b"msg_1", at, body).removeprefix(b"v1,")).decode("latin-1")
    return "Webhook-Id: msg_1", f"Webhook-Timestamp: {at.decode()}", f"Webhook-Signature: {made}"


def not_found() -> Iterator[tuple[str, bytes]]:
    """Every way not to be let in."""
    yield "another path", post(path="/")
    yield "no token", post(path="/in/braze")
    yield "empty token", post(path="/in/braze/")
    yield "more path", post(path=PATH + "/")
    yield "asterisk", post(path="*")
    yield "get elsewhere", post(path="/health", method="GET", length=None)
    yield "connect", post(path="example.org:443", method="CONNECT", length=None)
    yield "escaped", post(path=PATH.replace("braze", "br%61ze"))
    yield "traversal", post(path=f"/in/braze/..%2f{TOKEN}")
    yield "unknown source", post(path=f"/in/nobody/{TOKEN}")
    yield "odd source", post(path=f"/in/\"<script>'/{TOKEN}")
    yield "wrong token", post(path="/in/braze/" + "x" * 43)
    yield "token of another", post(path=to("basic", TOKEN))
    yield "retired token", post(path=to("rotating", "older"))
    yield "no credentials", post(path=to("basic"))
    yield "wrong credentials", post(b"{}", "Authorization: Basic " + b64encode(b"me:x").decode(), path=to("basic"))
    yield "no signature", post(path=to("signed"))
    yield "wrong signature", post(b"{}", *signed(b"[]"), path=to("signed"))
    yield "wrong secret", post(b"{}", *signed(b"{}", secret="x" * 24), path=to("signed"))
    yield "stale signature", post(b"{}", *signed(b"{}", at_s=SteadyClock.NOW_S - 301), path=to("signed"))
    yield "future signature", post(b"{}", *signed(b"{}", at_s=SteadyClock.NOW_S + 301), path=to("signed"))
    yield "malformed time", post(b"{}", "Webhook-Timestamp: \xb2", "Webhook-Id: \xff", path=to("signed"))
    yield "malformed signature", post(b"{}", *signed(b"{}", scheme=b"\xe9 v1 v1,,= "), path=to("signed"))
    yield "foreign address", post(path=to("listed"))
    yield "body not sent", post(path="/in/braze/x", length=100_000)
    yield "body not sent, awaiting", post(b"", "Expect: 100-continue", path="/in/braze/x", length=5)
    yield "chunked", post(b"", "Transfer-Encoding: chunked", path="/in/braze/x", length=None)


@pytest.mark.parametrize("request_bytes", [pytest.param(data, id=name) for name, data in not_found()])
@on_uvloop
async def test_whoever_is_not_let_in_gets_one_identical_404(request_bytes: bytes) -> None:
    async with serving(*GUARDED, clock=SteadyClock()) as rig:
        client = await rig.connect(request_bytes)
        assert await client.rest() == NOT_FOUND.close_bytes

    assert rig.log.postbacks == []
    assert rig.refused == {"not_found": 1}


@on_uvloop
async def test_our_counters_say_why_and_name_nothing_of_the_request() -> None:
    async with serving(*GUARDED, clock=SteadyClock()) as rig:
        for _, request_bytes in not_found():
            await rig.ask(request_bytes)

    assert set(rig.denied) == set(rig.gateway.counters.denied)
    assert set(rig.gateway.counters.sources) == {"braze", "basic", "signed", "listed", "rotating"}


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(path=to("basic"), method="POST").replace(
            b"Host", b"Authorization: bAsic bWU6Y2FuYXJ5LXBhc3N3b3Jk\r\nHost"
        ),
        post(path=to("rotating", "old")),
        post(path=to("rotating", "new")),
        post(b"{}", *signed(b"{}"), path=to("signed")),
        post(b"{}", *signed(b"{}", secret="another secret of ours.."), path=to("signed")),
        post(b"{}", *signed(b"{}", scheme=b"v1,AAAA v2,BBBB v1,"), path=to("signed")),
    ],
)
@on_uvloop
async def test_whoever_has_what_is_asked_is_let_in_again_and_again(request_bytes: bytes) -> None:
    async with serving(*GUARDED, clock=SteadyClock()) as rig:
        client = await rig.connect(request_bytes)
        assert await client.status() == 200
        client.send(request_bytes)
        assert await client.status() == 200


@on_uvloop
async def test_a_signed_head_is_never_taken_on_trust_for_another_body() -> None:
    async with serving(*GUARDED, clock=SteadyClock()) as rig:
        client = await rig.connect(post(b"{}", *signed(b"{}"), path=to("signed")))
        assert await client.status() == 200
        client.send(post(b"[]", *signed(b"{}"), path=to("signed")))
        assert await client.rest() == NOT_FOUND.close_bytes

    assert rig.log.bodies == [b"{}"]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("198.51.100.7", 200),
        ("6.6.6.6, 198.51.100.7", 200),
        ("2001:db8::1", 200),
        ("[2001:db8::1]:4711", 200),
        ("198.51.100.7, 127.0.0.1", 200),
        ("198.51.100.7, 6.6.6.6", 404),
        ("198.51.100.7, x", 404),
        ("", 404),
    ],
)
@on_uvloop
async def test_an_address_is_believed_from_a_trusted_proxy(claim: str, expected: int) -> None:
    async with serving(*GUARDED, clock=SteadyClock(), trusted_proxies=["127.0.0.0/8"]) as rig:
        request_bytes = post(b"{}", *([f"X-Forwarded-For: {claim}"] if claim else []), path=to("listed"))
        assert await rig.status(request_bytes) == expected


@on_uvloop
async def test_an_address_is_not_believed_from_anyone_else() -> None:
    async with serving(*GUARDED, clock=SteadyClock(), trusted_proxies=["192.0.2.0/24"]) as rig:
        assert await rig.status(post(b"{}", "X-Forwarded-For: 198.51.100.7", path=to("listed"))) == 404


@on_uvloop
async def test_an_address_is_asked_for_on_every_request_of_a_connection() -> None:
    async with serving(*GUARDED, clock=SteadyClock(), trusted_proxies=["127.0.0.1"]) as rig:
        client = await rig.connect(post(b"{}", "X-Forwarded-For: 198.51.100.7", path=to("listed")))
        assert await client.status() == 200
        client.send(post(b"{}", "X-Forwarded-For: 198.51.99.7", path=to("listed")))
        assert await client.status() == 404


@on_uvloop
async def test_a_head_let_in_from_one_address_is_not_let_in_from_another() -> None:
    """The bytes are the same to the last one; only the socket's peer differs."""
    listed = braze(allow_addresses=("127.0.0.2/32",))
    async with serving(listed) as rig:
        home = await rig.connect(post(), from_address="127.0.0.2")
        assert await home.status() == 200
        assert await rig.ask(post()) == NOT_FOUND.close_bytes
        home.send(post())
        assert await home.status() == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "CONNECT", "TRACE"])
@pytest.mark.parametrize("path", [PATH, "/in/nobody/x", "/in/"])
@on_uvloop
async def test_another_method_is_told_the_right_one_whoever_asks(method: str, path: str) -> None:
    async with serving() as rig:
        client = await rig.connect(post(method=method, path=path if method != "CONNECT" else f"http://h{path}"))
        assert await client.rest() == WRONG_METHOD.close_bytes


BAD_FRAMES = {
    "tls": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 50,
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "garbage": b"hello there\r\n\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "length and chunked": post(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "two lengths": post(b"12345", "Content-Length: 6"),
    "bad chunk": post(b"zz\r\n", "Transfer-Encoding: chunked", length=None),
    "chunk without end": post(b"2\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "long extension": post(b"2;" + b"x" * 16 + b"\r\nab\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "long trailer": post(b"0\r\nA: " + b"x" * 1100 + b"\r\n\r\n", "Transfer-Encoding: chunked", length=None),
    "bare lf": post().replace(b"\r\n", b"\n"),
    "bare cr": post(b"{}", "A: b\rContent-Length: 9"),
    "folded": post(b"{}", "A: b", " c"),
    "nul": post(b"{}", "A: b\x00c"),
    "space before colon": post(b"{}", "Transfer-Encoding : chunked"),
}


@pytest.mark.parametrize("wire", BAD_FRAMES.values(), ids=BAD_FRAMES)
@on_uvloop
async def test_bad_framing_is_refused_behind_the_answers_owed(wire: bytes) -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"good") + wire + post(b"smuggled"))
        assert await client.status() == 200
        assert await client.rest() == BAD_FRAMING.close_bytes
        assert await rig.status(post(b"next")) == 200

    assert rig.log.bodies == [b"good", b"next"]
    assert rig.refused == {"bad_framing": 1}


@pytest.mark.parametrize("cut", [1, 20, len(post(b"12345")) - 5, len(post(b"12345")) - 1])
@on_uvloop
async def test_a_request_cut_short_is_refused_and_nothing_of_it_kept(cut: int) -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"good") + post(b"12345")[:cut])
        client.send_eof()
        assert await client.status() == 200
        assert await client.rest() == CUT_SHORT.close_bytes

    assert rig.log.bodies == [b"good"]


@on_uvloop
async def test_an_unknown_expectation_is_refused() -> None:
    async with serving() as rig:
        client = await rig.connect(post(b"{}", "Expect: 200-ok"))
        assert await client.rest() == UNKNOWN_EXPECTATION.close_bytes


@on_uvloop
async def test_what_the_log_cannot_keep_is_503_and_the_connection_goes_on() -> None:
    async with serving() as rig:
        rig.log.keeps = False
        client = await rig.connect(post(b"lost"))
        assert await client.answer() == NOT_KEPT.keep_bytes
        rig.log.keeps = True
        client.send(post(b"kept"))
        assert await client.status() == 200

    counts = rig.gateway.counters.sources["braze"]
    assert (counts.accepted, counts.kept, counts.not_kept) == (2, 1, 1)
    assert rig.refused == {"not_kept": 1}


async def refused_while_sending(rig: Rig, head: bytes, size: int) -> bytes:
    """Send a head and then a lot; the answer must come through, whole and without a reset."""
    client = await rig.connect(head)
    client.send(b"x" * size)
    return await client.rest()


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (post(b"", length=900_000), BODY_TOO_LARGE),
        (post(b"", "Transfer-Encoding: chunked", length=None) + b"fffff\r\n", BODY_TOO_LARGE),
        (post(b"", path="/in/braze/x", length=900_000), NOT_FOUND),
        (post(b"", "X: " + "y" * 20_000, length=900_000), HEAD_TOO_LARGE),
        (post(b"", "Expect: wonders", length=900_000), UNKNOWN_EXPECTATION),
    ],
)
@on_uvloop
async def test_a_sender_in_the_middle_of_its_body_reads_the_refusal(head: bytes, answer: Answer) -> None:
    async with serving() as rig:
        for _ in range(5):
            assert await refused_while_sending(rig, head, 900_000) == answer.close_bytes
