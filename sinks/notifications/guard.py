"""Where a message must not go: addresses inside, whatever they are written as. Pure.

An address is judged when it is connected to (`guarded_http`, `apprise_process`), so it does not matter how it was
written, what a name resolved to a moment ago, or who redirected there. What a URL itself may look like is judged
before: what two readers of it could read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MOST_URL_CHARS: Final = 2_048
_INSIDE_4: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "this machine"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a provider's customers"),
    ("127.0.0.0/8", "this machine"),
    ("168.63.129.16/32", "metadata of a cloud"),
    ("169.254.0.0/16", "link-local, where clouds keep metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "benchmarks"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
)
#: What lies in 2000::/3 and is not for everybody. All else of version 6 is not.
_INSIDE_6: Final[tuple[tuple[str, str], ...]] = (
    ("::1/128", "this machine"),
    ("::/128", "this machine"),
    ("fc00::/7", "private"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
)
_GLOBAL_6: Final = IPv6Network("2000::/3")
#: Addresses that are a version 4 address in disguise: it is the one that is reached.
_CARRIES_4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
_NETWORKS: Final = tuple((ip_network(text), what) for text, what in (*_INSIDE_4, *_INSIDE_6))

#: In the part of a URL that names host and port. Anything else is read in different ways by different programs.
_AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\[\]@\\%/?#:<>^`{|}\"]+)(?::\d{1,5})?")
_NUMBER: Final = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")
_NO_ADDRESS: Final = "the host ends in a number, and is no address"
_BLANK: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


class GuardError(OSError):
    """A message would have gone where it must not; one line. An `OSError`, so that libraries hand it through."""


class Policy(NamedTuple):
    """What the settings of a target allow beyond https to everybody's addresses."""

    schemes: Sequence[str] = ("https",)
    networks: Sequence[Network] = ()


class Place(NamedTuple):
    """Where a URL leads. `host` in lower case, without brackets and a dot at the end."""

    scheme: str
    host: str
    port: int


def check_address(text: str, policy: Policy) -> None:
    """Judge the address a socket is about to connect to. Raises `GuardError`."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        raise GuardError(f"{text} is not an address") from None
    if any(address in network for network in policy.networks):
        return
    carried = _carried(address)
    if carried is not None and any(carried in network for network in policy.networks):
        return
    what = _inside(address if carried is None else carried)
    if what is not None:
        raise GuardError(f"{text} is not an address for everybody ({what}); allow_networks can allow it")


def check_url(url: str, policy: Policy) -> Place:
    """Where a URL leads, before its name is resolved. Raises `GuardError`, which never quotes the URL."""
    if len(url) > _MOST_URL_CHARS or _BLANK.search(url):
        raise GuardError("the url is too long, or has blanks, backslashes or control characters in it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise GuardError("the url cannot be read") from None
    if parts.scheme not in {"http", "https"}:
        raise GuardError("the url does not begin with https:// or http://")
    if parts.scheme not in policy.schemes:
        raise GuardError(
            f"the url begins with {parts.scheme}://, which its schemes ({', '.join(policy.schemes)}) do not allow"
        )
    if not _AUTHORITY.fullmatch(parts.netloc) or port == 0:
        raise GuardError("the url has more than a host and a port before its path, or a host in an odd form")
    host = _host(parts.hostname or "")
    if (literal := literal_of(host)) is not None:
        check_address(literal, policy)
    return Place(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))


def literal_of(host: str) -> str | None:
    """The address that a host is if it is one, in whatever form `inet_aton` reads (`0x7f.1`, `2130706433`)."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    parts = host.split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        raise GuardError(_NO_ADDRESS) from None
    value = 0
    for number in numbers[:-1]:
        value = (value << 8) | number
    left = 8 * (5 - len(numbers))
    if left <= 0 or any(number > 0xFF for number in numbers[:-1]) or numbers[-1] >= 1 << left:  # noqa: PLR2004  a byte
        raise GuardError(_NO_ADDRESS)
    return str(IPv4Address((value << left) | numbers[-1]))


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part):
        raise ValueError(part)
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def _host(text: str) -> str:
    try:
        host = text if text.isascii() else text.encode("idna").decode()
    except UnicodeError:
        raise GuardError("the host is no name that can be looked up") from None
    host = host.lower().removesuffix(".")
    if not host or not host.isascii():
        raise GuardError("the url names no host")
    return host


def _carried(address: Address) -> IPv4Address | None:
    """The version 4 address that is reached through one of version 6 that stands for it."""
    if isinstance(address, IPv6Address) and any(address in network for network in _CARRIES_4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _inside(address: Address) -> str | None:
    for network, what in _NETWORKS:
        if address in network:
            return what
    if isinstance(address, IPv4Address):
        return None
    if address not in _GLOBAL_6:
        return "reserved"
    # An address of version 4 tunnelled by the network at the other end.
    isatap = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    return _inside(IPv4Address(int(address) & 0xFFFFFFFF)) if isatap else None
