"""Which texts name the receiver, and which only seem to."""

from __future__ import annotations

import time

import pytest

from processors.incidents.receiving_domain import EXAMINED_MAX_CHARS, receiving_domain


@pytest.mark.parametrize(
    ("reason", "domain"),
    [
        (
            "550-5.7.26 Unauthenticated email from shop.example is not accepted, see https://support.google.com/mail/",
            "gmail.com",
        ),
        ("421-4.7.28 rate limited - gsmtp", "gmail.com"),
        ("550 5.4.1 Access denied. [AM7EUR03FT003.eop-EUR03.prod.protection.outlook.com]", "outlook.com"),
        ("550 5.7.1 [192.0.2.1] banned, please visit https://postmaster.live.com/", "outlook.com"),
        ("553 5.7.1 [BL21] Connections will not be accepted; see http://postmaster.yahoo.com/errors/", "yahoo.com"),
        ("host mx1.mail.example.co.uk[192.0.2.7] said: 554 5.7.1 blocked", "example.co.uk"),
        ("host mx.example.org said: 550 5.7.1 your address is on a list, https://www.spamhaus.org/x", "example.org"),
        ("host gmail-smtp-in.l.google.com [2001:db8::1] said: 550 5.7.1 blocked", "gmail.com"),
        ("smtp; 550 from remote server mx7.example.net: not accepted", "example.net"),
        ("550 5.7.1 <someone@example.org>: Recipient address rejected: policy", "example.org"),
        ("554 5.7.1 blocked for one@example.org and two@mail.example.org", "example.org"),
        ("MX.EXAMPLE.ORG: HOST MX.EXAMPLE.ORG SAID: 550", "example.org"),
    ],
)
def test_a_receiver_is_found_where_the_text_names_it(reason: str, domain: str) -> None:
    assert receiving_domain(reason) == domain


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "",
        "550 5.7.1 refused",
        "550 5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy",
        "550 5.7.1 SPF check failed for example.com",
        "550 5.1.8 <noreply@shop.example>: Sender address rejected: Domain not found",
        "550 5.7.1 mail from news@gmail.com not allowed",
        "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org",
        "550 refused for one@example.org and two@example.net",
        "host 192.0.2.1 said: 550 no",
        "see https://support.google.com/ and https://postmaster.yahoo.com/",
        "\ud800 host \ud800.example said",
    ],
)
def test_where_it_is_not_sure_there_is_none(reason: str | None) -> None:
    assert receiving_domain(reason) is None


@pytest.mark.parametrize("reason", ["550 <who@example.org> x", "someone+tag@mail.example.org", "host a@b.example said"])
def test_an_address_never_comes_out(reason: str) -> None:
    assert "@" not in (receiving_domain(reason) or "")


@pytest.mark.parametrize("piece", ["a", "a.", "host a.", "a@", "a-", "@a.b", "x@y.z ", "host a.b said "])
def test_a_hostile_text_costs_no_more_than_a_long_one(piece: str) -> None:
    started_s = time.process_time()
    receiving_domain(piece * 100_000)

    assert time.process_time() - started_s < 1  # milliseconds, unless something blows up


def test_only_the_beginning_is_read() -> None:
    name = " host mx.example.org said"

    assert receiving_domain(" " * (EXAMINED_MAX_CHARS - len(name)) + name) == "example.org"
    assert receiving_domain(" " * EXAMINED_MAX_CHARS + name) is None
