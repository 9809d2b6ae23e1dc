"""Personal data: the fields that hold it, what makes two writings of one recipient equal, and its keyed digest.

Everything that seals, finds or erases a recipient agrees on it here. No value is ever kept in clear
beside its digest: `Digests` is all that parts which compare values get to see.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, get_args

PersonalKind = Literal["recipient", "contact", "ip", "user_agent"]
#: How a value is compared: `message` is the id of a message that was an erased recipient's.
Shape = Literal["address", "phone", "identifier", "message"]
SHAPES: Final[tuple[Shape, ...]] = get_args(Shape)

#: A value is cut here; no address, number or user agent of use is longer.
MOST_VALUE_CHARS: Final = 512
#: With its country code a number has at least so many digits, and at most 15 (E.164).
LEAST_PHONE_DIGITS: Final = 9
MOST_PHONE_DIGITS: Final = 15
SECRET_CHARS: Final = 32

#: Fields of bodies that hold personal data, whoever sends them; provider files name those that are theirs.
NAMES: Final[Mapping[str, PersonalKind]] = MappingProxyType(
    {
        **dict.fromkeys(("to", "rcpt", "recipient", "destination"), "recipient"),
        **dict.fromkeys(("email", "e_mail", "email_address", "emailAddress", "mail"), "recipient"),
        **dict.fromkeys(("phone", "phone_number", "phoneNumber", "mobile", "msisdn"), "recipient"),
        **dict.fromkeys(("contactId", "contact_id"), "contact"),
        **dict.fromkeys(("ip", "ip_address", "ipAddress", "client_ip"), "ip"),
        **dict.fromkeys(("user_agent", "userAgent"), "user_agent"),
    }
)

_ADDRESS: Final = re.compile(r"[^\s<>()\[\],;:\"]+@[^\s<>()\[\],;:\"]+")
_PHONE: Final = re.compile(r"\+?[0-9 ().\-/\N{NO-BREAK SPACE}]+")
_NO_DIGIT: Final = re.compile(r"[^0-9]")


class Personal(NamedTuple):
    """One personal value of a message, sealed: its digest, and where that is set its encrypted text (base64)."""

    message_id: str
    kind: str
    digest: str
    sealed: str | None


class Value(NamedTuple):
    """A value in the form in which it is compared."""

    shape: Shape
    text: str


class Erased(NamedTuple):
    """One entry of the list of what was erased. `chars` is the length of the value, which bounds the search for it.

    `key_id` says under which key the digest was made, `erased_at` is a time of `schemas.times`.
    """

    digest: str
    shape: Shape
    chars: int
    key_id: str
    erased_at: str


class Digests:
    """Keyed digests of values: HMAC-SHA-256, in hexadecimal. Thread-safe."""

    __slots__ = ("_key", "key_id")

    def __init__(self, secret: str) -> None:
        self._key = derived(secret, "digest")
        self.key_id = derived(secret, "id")[:8].hex()

    def of(self, value: Value) -> str:
        """64 hexadecimal digits. Values of two shapes never have one digest."""
        text = f"{value.shape}:{value.text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, text, "sha256").hex()

    def erased(self, value: Value, erased_at: str) -> Erased:
        """The entry of the list that stands for a value."""
        return Erased(self.of(value), value.shape, len(value.text), self.key_id, erased_at)


def derived(secret: str, use: str) -> bytes:
    """32 bytes for one use of a secret; those of two uses say nothing of each other."""
    return hmac.digest(secret.encode(), f"sendtrace personal data: {use}".encode(), "sha256")


def value_of(kind: PersonalKind, text: str) -> Value:
    """How a field's text is compared. Only recipients are addresses and numbers; the rest is what it is, blanks off."""
    return values_of(text)[0] if kind == "recipient" else Value("identifier", text.strip())


def values_of(text: str) -> list[Value]:
    """Everything a recipient's text may be: an address, or a number, which may be an identifier, too."""
    stripped = text.strip()
    address = _ADDRESS.search(stripped)
    if address is not None:
        return [Value("address", lowered(address[0]))]
    found = [Value("phone", digits_of(stripped))] if is_phone(stripped) else []
    return found if found and not stripped.isalnum() else [*found, Value("identifier", stripped)]


def is_phone(text: str) -> bool:
    """Whether a whole text is a telephone number with its country code, as people write them."""
    return bool(_PHONE.fullmatch(text)) and LEAST_PHONE_DIGITS <= len(digits_of(text)) <= MOST_PHONE_DIGITS


def digits_of(text: str) -> str:
    """A number as it is compared: digits alone, without the 00 that some put for +."""
    return _NO_DIGIT.sub("", text).removeprefix("00")


def lowered(text: str) -> str:
    """In lower case and of the same length, which `str.lower` alone does not promise."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(low if len(low := c.lower()) == 1 else c for c in text)
