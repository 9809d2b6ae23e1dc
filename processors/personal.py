"""Personal values of bodies: taken out of the fields that a provider file names, and sealed before anybody writes them.

Pure. Sealing gives the same text for the same value every time, so that a replay makes the same rows;
that is why values are encrypted with AES-SIV (docs/decisions/0011).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Final, Literal, Protocol

from processors.bodies import Fields, NumberText
from schemas.personal import MOST_VALUE_CHARS, Digests, Personal, PersonalKind, derived, value_of

Mode = Literal["hashed", "encrypted", "off"]
#: Of one body; a sender that names more recipients of one message has no message of one recipient.
MOST_VALUES: Final = 20


class Cipher(Protocol):
    """What `cryptography` has under the name AESSIV."""

    def encrypt(self, data: bytes, associated_data: list[bytes] | None) -> bytes:
        """The same bytes for the same bytes."""
        ...

    def decrypt(self, data: bytes, associated_data: list[bytes] | None) -> bytes:
        """The inverse. Raises `cryptography.exceptions.InvalidTag`."""
        ...


class Seal:
    """Makes a row of a value: its keyed digest, and where `encrypted` is set its text that only the key opens."""

    __slots__ = ("_cipher", "_digests")

    def __init__(self, secret: str, *, encrypted: bool) -> None:
        self._digests = Digests(secret)
        self._cipher = cipher_of(secret) if encrypted else None

    def __call__(self, message_id: str, kind: PersonalKind, text: str) -> Personal:
        """One row."""
        sealed = None
        if self._cipher is not None:
            data = self._cipher.encrypt(text.encode("utf-8", "replace"), [kind.encode()])
            sealed = b64encode(data).decode()
        return Personal(message_id, kind, self._digests.of(value_of(kind, text)), sealed)

    def opened(self, row: Personal) -> str | None:
        """What was sealed; `None` where only its digest was kept."""
        if self._cipher is None or row.sealed is None:
            return None
        return self._cipher.decrypt(b64decode(row.sealed), [row.kind.encode()]).decode()


def cipher_of(secret: str) -> Cipher:
    """AES-SIV (RFC 5297) with a key of 64 bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415  for those who set "encrypted"

    return AESSIV(derived(secret, "cipher, first half") + derived(secret, "cipher, second half"))


def personal_of(names: Mapping[str, PersonalKind], *places: Fields) -> tuple[tuple[PersonalKind, str], ...]:
    """The personal values on the first level of each of `places`, none twice."""
    found: dict[tuple[PersonalKind, str], None] = {}
    for fields in places:
        if not names.keys().isdisjoint(fields):
            for name in fields.keys() & names.keys():
                found.update(dict.fromkeys((names[name], text) for text in _texts(fields[name])))
    return tuple(sorted(found))[:MOST_VALUES]


def _texts(value: object) -> Iterator[str]:
    """A text or number, or some in a list or under any name, as `{"recipient": {"email": …}}` has them."""
    if isinstance(value, str):
        text = value.strip()[:MOST_VALUE_CHARS]
        if text.strip("+-0."):  # 0 means "none", as everywhere
            yield text
    elif isinstance(value, NumberText):
        yield from _texts(value.text)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from _texts(str(value))
    elif isinstance(value, list | dict):
        items = value if isinstance(value, list) else list(value.values())
        for item in items[:MOST_VALUES]:
            if isinstance(item, str | int | NumberText):
                yield from _texts(item)
