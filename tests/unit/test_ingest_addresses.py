"""Whose address counts: sockets, proxies and their claims."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ingest.addresses import Peer, client_address, networks, parse_address, within

PROXIES = networks(["10.0.0.0/8", "fd00::/8"])
PROXY = Peer("10.0.0.1", ip_address("10.0.0.1"), trusted=True)
STRANGER = Peer("203.0.113.9", ip_address("203.0.113.9"), trusted=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:8080", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_address_is_read_as_sockets_and_proxies_write_it(text: str, expected: str) -> None:
    assert parse_address(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "192.0.2.256", "192.0.2.1:x", "[::1", "[::1]x", "192.0.2.1 ", "٣.0.0.1"]
)
def test_what_is_no_address_is_nobody(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (b"198.51.100.7", "198.51.100.7"),
        (b"198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (b"198.51.100.7,10.0.0.2,fd00::1", "198.51.100.7"),
        (b"6.6.6.6, 198.51.100.7", "198.51.100.7"),  # the left one is what the sender made up
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_the_first_untrusted_hop_from_the_right_is_the_sender(claim: bytes, expected: str) -> None:
    assert client_address(PROXY, claim, PROXIES) == ip_address(expected)


@pytest.mark.parametrize(
    "claim",
    [b"unknown", b"198.51.100.7, unknown", b"198.51.100.7,", b",", b"\xff", b"198.51.100.7" + b", 10.0.0.2" * 17],
)
def test_a_malformed_or_endless_chain_is_nobody(claim: bytes) -> None:
    assert client_address(PROXY, claim, PROXIES) is None


def test_a_stranger_cannot_claim_another_address() -> None:
    assert client_address(STRANGER, b"198.51.100.7", PROXIES) == STRANGER.address


def test_a_proxy_that_claims_nothing_speaks_for_itself() -> None:
    assert client_address(PROXY, b"", PROXIES) == PROXY.address


def test_nobody_lies_in_no_network() -> None:
    assert not within(None, networks(["0.0.0.0/0", "::/0"]))


def test_networks_hold_v4_and_v6_apart() -> None:
    assert within(ip_address("192.0.2.200"), networks(["192.0.2.0/24"]))
    assert within(ip_address("2001:db8::5"), networks(["2001:db8::/32"]))
    assert not within(ip_address("192.0.3.1"), networks(["192.0.2.0/24", "2001:db8::/32"]))


def test_a_network_with_bits_behind_its_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        networks(["10.0.0.1/8"])
