"""Who is at the other end: networks in CIDR form, and the sender's address behind trusted proxies.

`X-Forwarded-For` is anyone's claim. It is read only when the socket's peer is a trusted proxy, from
the right, and only as far as trusted proxies wrote it; what cannot be read is nobody's address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}")
_MOST_HOPS: Final = 16  # a longer chain is not a chain of proxies


class Peer(NamedTuple):
    """The other end of one connection. `text` is "" and `address` is `None` on a Unix socket."""

    text: str
    address: Address | None
    trusted: bool


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDR texts, v4 and v6; a bare address is a network of one. Raises `ValueError` saying what is wrong."""
    return tuple(ip_network(text.strip()) for text in texts)


def within(address: Address | None, allowed: Sequence[Network]) -> bool:
    """Whether an address lies in any of the networks; nobody's address lies in none."""
    return address is not None and any(address in network for network in allowed)


def parse_address(text: str) -> Address | None:
    """An address as proxies and sockets write it: with a port, in brackets, with a zone, v4 inside v6."""
    bracketed = _WITH_PORT.fullmatch(text)
    if bracketed is not None:
        text = bracketed[1] or bracketed[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def client_address(peer: Peer, forwarded_for: bytes, trusted: Sequence[Network]) -> Address | None:
    """The sender's own address, or `None` where it cannot be told.

    Without the header it is the peer. A chain of nothing but trusted proxies began at the leftmost.
    """
    if not peer.trusted or not forwarded_for:
        return peer.address
    hops = forwarded_for.decode("latin-1").rsplit(",", _MOST_HOPS)
    address: Address | None = None
    for hop in reversed(hops):
        address = parse_address(hop.strip())
        if not within(address, trusted):
            return address
    return address
