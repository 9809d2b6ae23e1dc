"""Signatures in the Standard Webhooks form: HMAC-SHA256 over `id.time.body`.

Nothing a sender writes can raise here: a header that cannot be read is a signature that does not
hold. Times are refused on both sides of the window, and a body signed without its time would be
valid for ever (facts/reliability.md §1c names who gets either wrong). Replays inside the window
are not refused: the sender's own retry looks the same, and equal bodies fold later.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

TOLERANCE_S: Final = 300
_PREFIX: Final = "whsec_"
_LEAST_SECRET_BYTES: Final = 16
_MOST_SIGNATURES: Final = 20  # more than any rotation needs; each costs one comparison a secret
_MOST_TIME_DIGITS: Final = 12


class Signed(NamedTuple):
    """The three headers of one request, as sent; empty where missing."""

    message_id: bytes
    time: bytes
    signatures: bytes


def secret_bytes(text: str) -> bytes:
    """The key of a configured secret: `whsec_` and base64, or raw text. Raises `ValueError`, never naming it."""
    if not text.startswith(_PREFIX):
        key = text.encode()
    else:
        try:
            key = b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise ValueError("what follows whsec_ is not base64") from None
    if len(key) < _LEAST_SECRET_BYTES:
        raise ValueError(f"shorter than {_LEAST_SECRET_BYTES} bytes")
    return key


def signature(secret: bytes, message_id: bytes, time: bytes, body: bytes) -> bytes:
    """One `v1,…` entry of the signature header."""
    digest = hmac.digest(secret, b"%b.%b.%b" % (message_id, time, body), "sha256")
    return b"v1," + b64encode(digest)


def holds(secrets: Sequence[bytes], signed: Signed, body: bytes, now_s: int) -> bool:
    """Whether any signature of the request was made with any of the secrets, within 300 s of now."""
    time = signed.time
    if not signed.message_id or not time.isdigit() or len(time) > _MOST_TIME_DIGITS:
        return False
    if abs(now_s - int(time)) > TOLERANCE_S:
        return False
    given = signed.signatures.split()[:_MOST_SIGNATURES]
    found = False
    for secret in secrets:
        expected = signature(secret, signed.message_id, time, body)
        for candidate in given:
            found |= hmac.compare_digest(expected, candidate)
    return found
