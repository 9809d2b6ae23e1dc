"""Undo a request's Content-Encoding, with a bound: a small body must not become a large one in memory.

Refuses to guess: an encoding we do not know, damaged data and data after the end are all reported,
never partly used. zlib only; the gateway keeps the compressed bytes as they came.
"""

from __future__ import annotations

import zlib
from typing import Final

from schemas.event import Rejected
from schemas.rejections import RejectReason

INFLATED_MAX_BYTES: Final = 2 * 1024 * 1024
ENCODINGS_MAX: Final = 3
#: Each member costs a copy of what follows it, so 20-byte members would make the work quadratic.
GZIP_MEMBERS_MAX: Final = 64

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = zlib.MAX_WBITS | 16
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_GZIP_NAMES: Final = frozenset({"gzip", "x-gzip"})

_TOO_LARGE: Final = Rejected(
    RejectReason.INFLATED_TOO_LARGE, f"The compressed body inflates beyond the limit of {INFLATED_MAX_BYTES} bytes."
)
_DAMAGED: Final = Rejected(RejectReason.BAD_ENCODING, "The compressed body is damaged, cut short or has extra bytes.")


class NotCompressedError(Exception):
    """The bytes are not what the Content-Encoding says; they may be plain text sent with a wrong header."""


def inflate(body: bytes, content_encoding: str) -> bytes | Rejected:
    """The body as it was before compression, at most `INFLATED_MAX_BYTES` long.

    `content_encoding` is the header as sent: a list is undone from its end (RFC 9110 §8.4). Raises
    `NotCompressedError` when the outermost encoding is one we know and the bytes do not even start like it.
    """
    names = [name for part in content_encoding.lower().split(",") if (name := part.strip()) and name != "identity"]
    if len(names) > ENCODINGS_MAX:
        return Rejected(RejectReason.BAD_ENCODING, f"More than {ENCODINGS_MAX} content encodings are named.")
    if any(name not in _GZIP_NAMES and name != "deflate" for name in names):
        return Rejected(RejectReason.BAD_ENCODING, "The Content-Encoding is neither gzip, deflate nor identity.")
    result: bytes | Rejected = body
    for name in reversed(names):
        if isinstance(result, Rejected):
            break
        result = _gunzip(result) if name in _GZIP_NAMES else _undeflate(result)
    return result


def _gunzip(body: bytes) -> bytes | Rejected:
    """All members of a gzip stream (RFC 1952 §2.2); zero bytes after the last are padding."""
    if not body.startswith(_GZIP_MAGIC):
        raise NotCompressedError
    parts: list[bytes] = []
    room, rest = INFLATED_MAX_BYTES, body
    for _ in range(GZIP_MEMBERS_MAX):
        member = _one_stream(rest, _GZIP, room)
        if isinstance(member, Rejected):
            return member
        part, rest = member
        parts.append(part)
        room -= len(part)
        if not rest.strip(b"\0"):
            return b"".join(parts)
    return _DAMAGED


def _undeflate(body: bytes) -> bytes | Rejected:
    """`deflate` is zlib-wrapped (RFC 9110 §8.4.1.2), yet senders exist that leave the wrapper off."""
    found = _one_stream(body, zlib.MAX_WBITS, INFLATED_MAX_BYTES)
    if found is _DAMAGED:
        found = _one_stream(body, _RAW_DEFLATE, INFLATED_MAX_BYTES)
    if isinstance(found, Rejected):
        if found is _DAMAGED:
            raise NotCompressedError
        return found
    part, rest = found
    if rest:  # plain text can pass for a few bytes of raw deflate
        raise NotCompressedError
    return part


def _one_stream(body: bytes, wbits: int, room_bytes: int) -> tuple[bytes, bytes] | Rejected:
    """One stream and what follows it. One byte more than there is room for is asked, to see the excess."""
    stream = zlib.decompressobj(wbits)
    try:
        part = stream.decompress(body, room_bytes + 1)
    except zlib.error:
        return _DAMAGED
    if len(part) > room_bytes:
        return _TOO_LARGE
    return (part, stream.unused_data) if stream.eof else _DAMAGED
