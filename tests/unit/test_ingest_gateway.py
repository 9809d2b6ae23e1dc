"""The gateway's decisions without a socket: what is let in, remembered, counted and appended."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ingest.addresses import Peer
from ingest.answers import IN_FLIGHT_FULL, NOT_FOUND, WRONG_METHOD, Refused
from ingest.auth import Denial, Source
from ingest.gateway import RECORD_OVERHEAD_BYTES, Gateway
from ingest.head import Head, HeadReader
from ingest.limits import Limits
from ingest.tickets import Ticket
from schemas.ports import Waiter
from schemas.postback import Postback

TOKEN = "a-token"
BRAZE = Source(name="braze", provider="braze", token_sha256=(sha256(TOKEN.encode()).hexdigest(),))


class Clock:
    def now_ms(self) -> int:
        return 1_700_000_000_123

    def monotonic_s(self) -> float:
        return 0.0


class Log:
    """Keeps what it is given and leaves the word to the test."""

    def __init__(self) -> None:
        self.appended: list[tuple[Postback, Waiter]] = []

    def append(self, postback: Postback, waiter: Waiter) -> None:
        self.appended.append((postback, waiter))

    def can_keep(self) -> bool:
        return True


class Nobody:
    """Answers no one."""

    def flush(self) -> None:
        return


def gateway(source: Source = BRAZE, *, log: Log | None = None, **limits: int) -> Gateway:
    bounds = replace(Limits(), **limits)
    return Gateway(sources=[source], log=log or Log(), limits=bounds, clock=Clock(), trusted_proxies=["10.0.0.0/8"])


def wire(path: str, *fields: str, method: str = "POST") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Content-Type: a/b", *fields, "", "")).encode()


def head(path: str = f"/in/braze/{TOKEN}", *fields: str, method: str = "POST") -> tuple[Head, bytes]:
    raw = wire(path, *fields, method=method)
    reader = HeadReader(Limits())
    reader.feed(raw, 0)
    assert reader.head is not None
    return reader.head, raw


def ticket(of: Gateway) -> Ticket:
    return Ticket(Nobody(), of.counters.sources["braze"], of.counters, 0.0)


PEER = Peer("192.0.2.1", None, trusted=False)


def test_a_request_becomes_one_postback() -> None:
    log = Log()
    one = gateway(log=log)
    found, _ = head()

    assert one.accept(one.admit(found, PEER), b"body", ticket(one)) is None

    ((postback, _),) = log.appended
    assert postback == Postback(
        "braze", "braze", "postback", postback.receipt_id, 1_700_000_000_123, "a/b", "", b"body"
    )


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/", Denial.UNKNOWN_PATH),
        ("/other/braze/a-token", Denial.UNKNOWN_PATH),
        ("/in", Denial.UNKNOWN_PATH),
        ("*", Denial.UNKNOWN_PATH),
        ("/in/", Denial.UNKNOWN_SOURCE),
        ("/in/other/a-token", Denial.UNKNOWN_SOURCE),
        ("//in/braze/a-token", Denial.UNKNOWN_PATH),
        ("/in//braze/a-token", Denial.UNKNOWN_SOURCE),
        ("/in/braze", Denial.WRONG_TOKEN),
        ("/in/braze/a-token/", Denial.WRONG_TOKEN),
        ("/in/braze/A-TOKEN", Denial.WRONG_TOKEN),
        ("/in/braze/?a-token", Denial.WRONG_TOKEN),
        ("http://h/in/braze/wrong?http://h/in/braze/a-token", Denial.WRONG_TOKEN),
    ],
)
def test_a_path_that_is_not_exactly_right_is_not_found(path: str, why: Denial) -> None:
    one = gateway()

    with pytest.raises(Refused) as refused:
        one.admit(head(path)[0], PEER)

    assert refused.value.answer is NOT_FOUND
    assert {reason: count for reason, count in one.counters.denied.items() if count} == {why: 1}


def test_another_method_is_refused_before_anyone_is_looked_up() -> None:
    one = gateway()

    with pytest.raises(Refused) as refused:
        one.admit(head(method="GET")[0], PEER)

    assert refused.value.answer is WRONG_METHOD
    assert sum(one.counters.denied.values()) == 0


def recognized(one: Gateway, *fields: str, token: str = TOKEN, method: str = "POST") -> object:
    """What becomes of a head never met before, of a sender who was let in."""
    one.admit(head()[0], PEER)
    return one.recognize(wire(f"/in/braze/{token}", "X-Request-Id: 1", *fields, method=method))


def test_a_new_head_of_a_known_sender_is_recognized_as_it_would_be_admitted() -> None:
    one = gateway()
    found, _ = head(f"/in/braze/{TOKEN}", "X-Request-Id: 1", "Content-Length: 4")

    assert recognized(one, "Content-Length: 4") == one.admit(found, PEER)


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked",),
        ("Expect: 100-continue", "Content-Length: 4"),
        ("Connection: close",),
        ("Authorization: Basic eDp5",),
        ("Content-Length: 600000",),
        ("X: " + "x" * 20_000,),
        ("X : y",),
    ],
)
def test_what_is_not_plain_and_in_order_is_not_recognized(fields: tuple[str, ...]) -> None:
    assert recognized(gateway(), *fields) is None


def test_another_token_or_method_is_not_recognized_and_not_counted() -> None:
    one = gateway()

    assert recognized(one, token="wrong") is None
    assert recognized(one, method="GET") is None
    assert sum(one.counters.denied.values()) == 0


def test_nobody_is_recognized_before_being_let_in() -> None:
    assert gateway().recognize(head()[1]) is None


@pytest.mark.parametrize("cut", [0, 3, 40, 1_000])
def test_half_a_head_is_not_recognized(cut: int) -> None:
    one = gateway()
    found, raw = head()
    one.admit(found, PEER)

    assert (one.recognize(raw[:cut]) is None) is (cut < len(raw))


def test_a_signed_source_is_recognized_with_its_signature_still_to_check() -> None:
    one = gateway(replace(BRAZE, hmac_secrets=("a secret of its own",)))
    one.admit(head()[0], PEER)

    admission = one.recognize(head(f"/in/braze/{TOKEN}", "Webhook-Id: 7")[1])

    assert admission is not None
    assert admission.signed is not None
    assert admission.signed.message_id == b"7"


def test_a_plain_head_is_known_again_by_its_bytes() -> None:
    one = gateway()
    found, raw = head(f"/in/braze/{TOKEN}", "Content-Length: 4")
    admission = one.admit(found, PEER)

    one.remember(raw, admission)

    assert one.known_heads == {raw: admission}


@pytest.mark.parametrize(
    "fields", ["Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: close", "X:" + "y" * 2048]
)
def test_a_head_that_needs_more_than_its_bytes_is_not_remembered(fields: str) -> None:
    one = gateway()
    found, raw = head(f"/in/braze/{TOKEN}", fields)

    one.remember(raw, one.admit(found, PEER))

    assert one.known_heads == {}


def test_heads_of_signing_and_listed_sources_are_not_remembered() -> None:
    found, raw = head()
    for source in (replace(BRAZE, hmac_secrets=("x" * 24,)), replace(BRAZE, allow_addresses=("10.1.0.0/16",))):
        one = gateway(source)
        one.remember(raw, one.admit(found, one.peer(("10.1.0.1", 1))))

        assert one.known_heads == {}


def test_room_is_counted_with_what_a_record_costs_besides_its_body() -> None:
    one = gateway(in_flight_bytes=2 * RECORD_OVERHEAD_BYTES + 10)
    admission = one.admit(head()[0], PEER)

    assert one.accept(admission, b"12345", ticket(one)) is None
    assert one.accept(admission, b"12345", ticket(one)) is None
    assert one.accept(admission, b"", ticket(one)) is IN_FLIGHT_FULL
    assert one.counters.in_flight_bytes == 2 * RECORD_OVERHEAD_BYTES + 10


def test_a_settled_postback_gives_its_room_back_and_is_counted_by_source() -> None:
    log = Log()
    one = gateway(log=log)
    admission = one.admit(head()[0], PEER)
    for _ in range(3):
        one.accept(admission, b"12345", ticket(one))
    for (_, waiter), kept in zip(log.appended, (True, False, True), strict=True):
        waiter.settle(kept)

    counts = one.counters.sources["braze"]
    assert (counts.accepted, counts.accepted_bytes, counts.kept, counts.not_kept) == (3, 15, 2, 1)
    assert one.counters.in_flight_bytes == 0


@pytest.mark.parametrize(
    ("peername", "text", "trusted"),
    [
        (("10.2.3.4", 80), "10.2.3.4", True),
        (("::ffff:10.2.3.4", 80, 0, 0), "::ffff:10.2.3.4", True),
        (("192.0.2.1", 80), "192.0.2.1", False),
        ("", "", False),
        (None, "", False),
    ],
)
def test_a_peer_is_what_its_transport_says(peername: object, text: str, *, trusted: bool) -> None:
    peer = gateway().peer(peername)

    assert (peer.text, peer.trusted) == (text, trusted)


def test_readiness_is_the_logs_until_the_gateway_stops() -> None:
    one = gateway()
    assert one.can_keep()

    one.drain()

    assert not one.can_keep()


def test_proxies_that_are_no_networks_stop_the_start() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Gateway(sources=[BRAZE], log=Log(), limits=Limits(), clock=Clock(), trusted_proxies=["nonsense"])
