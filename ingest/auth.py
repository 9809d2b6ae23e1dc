"""Who may post: sources with their tokens, and what some of them ask besides.

Unknown source, wrong token, wrong credentials and a foreign address take one path: every check is
made, against stand-ins where a source does not exist or does not ask, and only then is there an
answer, the same for all. Which check failed goes to a counter of ours and nowhere else.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from secrets import token_bytes
from typing import Final

from ingest.addresses import Address, Network, networks, within
from ingest.signatures import secret_bytes

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # what a URL carries without escapes
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_TOKENS: Final = 10
_MOST_SECRETS: Final = 10
_REMEMBERED: Final = 256  # credentials that passed
_REMEMBERED_BYTES: Final = 1024  # longer ones are checked each time


class Denial(StrEnum):
    """Why an answer was 404: for our counters only."""

    UNKNOWN_PATH = "unknown_path"
    UNKNOWN_SOURCE = "unknown_source"
    WRONG_TOKEN = "wrong_token"  # noqa: S105 — the name of a counter
    WRONG_CREDENTIALS = "wrong_credentials"
    FOREIGN_ADDRESS = "foreign_address"
    BAD_SIGNATURE = "bad_signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One configured sender. Secrets stay out of its repr.

    `token_sha256`: hex SHA-256 of each valid token's text, 1 to 10, several while rotating.
    `hmac_secrets`: `whsec_` and base64, or raw text; where set, every request must be signed with one.
    `allow_addresses`: CIDR texts; where set, the sender must lie in one.
    Raises `ValueError` naming the source and the field.
    """

    name: str
    provider: str
    token_sha256: tuple[str, ...] = field(repr=False)
    basic_user: str | None = field(default=None, repr=False)
    basic_password: str | None = field(default=None, repr=False)
    hmac_secrets: tuple[str, ...] = field(default=(), repr=False)
    allow_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"source name {self.name!r}: expected 1 to 64 letters, digits, '.', '_' or '-'")
        if not 1 <= len(self.token_sha256) <= _MOST_TOKENS:
            raise self._wrong("token_sha256", f"expected 1 to {_MOST_TOKENS} digests")
        if not all(_DIGEST.fullmatch(digest.lower()) for digest in self.token_sha256):
            raise self._wrong("token_sha256", "expected 64 hex digits each, the SHA-256 of a token's text")
        if (self.basic_user is None) != (self.basic_password is None):
            raise self._wrong("basic_user", "expected together with basic_password")
        if self.basic_user is not None and (":" in self.basic_user or not self.basic_password):
            raise self._wrong("basic_user", "expected a name without ':' and a password that is not empty")
        if len(self.hmac_secrets) > _MOST_SECRETS:
            raise self._wrong("hmac_secrets", f"expected at most {_MOST_SECRETS}")
        self._check_readable()

    def _check_readable(self) -> None:
        for name, read in (("hmac_secrets", self.signing_keys), ("allow_addresses", self.allowed_networks)):
            try:
                read()
            except ValueError as error:
                raise self._wrong(name, str(error)) from None

    def signing_keys(self) -> tuple[bytes, ...]:
        """The keys of `hmac_secrets`."""
        return tuple(secret_bytes(text) for text in self.hmac_secrets)

    def allowed_networks(self) -> tuple[Network, ...]:
        """The networks of `allow_addresses`."""
        return networks(self.allow_addresses)

    def _wrong(self, name: str, what: str) -> ValueError:
        return ValueError(f"source {self.name!r}: {name}: {what}")


class _Locks:
    """What one source asks, ready to compare: digests of equal length, the same number for all."""

    __slots__ = ("asks_basic", "digests", "networks", "password", "source", "user")

    def __init__(self, source: Source | None, slots: int) -> None:
        tokens = [bytes.fromhex(text) for text in source.token_sha256] if source else []
        user = source.basic_user if source else None
        password = source.basic_password if source else None
        self.source = source
        self.digests = (*tokens, *(token_bytes(32) for _ in range(slots - len(tokens))))
        self.asks_basic = user is not None
        self.user = _digest(user) if user is not None else token_bytes(32)
        self.password = _digest(password) if password is not None else token_bytes(32)
        self.networks: Sequence[Network] = source.allowed_networks() if source else ()


class Gatekeeper:
    """Lets a request pass by source name, token, basic credentials and address.

    Remembers, bounded, credentials that passed where nothing else is asked: real senders repeat
    theirs. It never remembers what failed, nor a source with an address list, so a guess is always
    checked in full. Raises `ValueError` when two sources share a name or a token.
    """

    __slots__ = ("_locks", "_nobody", "_passed")

    def __init__(self, sources: Sequence[Source]) -> None:
        _check_distinct(sources)
        slots = max((len(source.token_sha256) for source in sources), default=1)
        self._locks = {source.name.encode("ascii"): _Locks(source, slots) for source in sources}
        self._nobody = _Locks(None, slots)
        self._passed: dict[tuple[bytes, bytes, bytes], Source] = {}

    def check(self, *, name: bytes, token: bytes, authorization: bytes, address: Address | None) -> Source | Denial:
        """The source the request may post for, or why not. No check is skipped because another failed."""
        locks = self._locks.get(name, self._nobody)
        digest = sha256(token).digest()
        token_fits = False
        for active in locks.digests:
            token_fits |= compare_digest(digest, active)
        user, password = _basic(authorization)
        basic_fits = compare_digest(_digest(user), locks.user) & compare_digest(_digest(password), locks.password)
        address_fits = within(address, locks.networks) or not locks.networks
        if locks.source is None:
            return Denial.UNKNOWN_SOURCE
        if not token_fits:
            return Denial.WRONG_TOKEN
        if locks.asks_basic and not basic_fits:
            return Denial.WRONG_CREDENTIALS
        if not address_fits:
            return Denial.FOREIGN_ADDRESS
        if not locks.networks and len(token) + len(authorization) <= _REMEMBERED_BYTES:
            if len(self._passed) >= _REMEMBERED:
                self._passed.clear()
            self._passed[name, token, authorization] = locks.source
        return locks.source

    def passed(self, *, name: bytes, token: bytes, authorization: bytes) -> Source | None:
        """The source these very credentials were found to fit before; `None` says nothing about them."""
        return self._passed.get((name, token, authorization))


def _check_distinct(sources: Sequence[Source]) -> None:
    owners: dict[str, str] = {}
    names: set[str] = set()
    for source in sources:
        if source.name in names:
            raise ValueError(f"source {source.name!r}: configured twice")
        names.add(source.name)
        for digest in source.token_sha256:
            owner = owners.setdefault(digest.lower(), source.name)
            if owner != source.name:
                raise ValueError(f"source {source.name!r}: token_sha256: shares a token with source {owner!r}")


def _digest(value: str | bytes) -> bytes:
    return sha256(value.encode() if isinstance(value, str) else value).digest()


def _basic(authorization: bytes) -> tuple[bytes, bytes]:
    """User and password of a Basic header (RFC 7617), empty where there are none. The first `:` ends the user."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return b"", b""
    try:
        user, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return b"", b""
    return (user, password) if colon else (b"", b"")
