"""Whether the bytes of a postback hold an erased recipient, however they are written. Pure.

A body is looked at as it is, unpacked, and with what URLs and JSON escape written out; fields that hold
personal data are looked at one by one, because there an identifier may be as short as it likes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_plus

import orjson

from schemas.personal import NAMES, value_of
from sinks.personal.redactor import Redactor

#: What the gateway takes inflated, twice; what is beyond was never read by the processor either.
_MOST_INFLATED_BYTES: Final = 4 * 1024 * 1024
_AUTO_DETECT: Final = 47  # zlib's number for "gzip or zlib, by its head"
_PACKED: Final = (b"\x1f\x8b", b"\x78")
_ESCAPE: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\[bfnrt]")
_NAMES: Final = "|".join(map(re.escape, NAMES))
#: A field in JSON, in a form and in a multipart body, as far as it can be told without reading the whole.
_FIELD: Final = re.compile(
    rf'"(?P<json>{_NAMES})"\s*:\s*(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<number>[^\s,}}\]"]+))'
    rf"|(?:^|[&?;])(?P<form>{_NAMES})=(?P<plain>[^&]*)"
    rf'|name="?(?P<part>{_NAMES})"?[^\n]*\r?\n(?:[^\n]+\r?\n)*\r?\n(?P<content>[^\r\n]*)'
)


def holds_body(redactor: Redactor, body: bytes) -> bool:
    """Whether a body is of an erased recipient, or names one."""
    return bool(redactor) and any(
        redactor.holds(text) or _names_one(redactor, text) for text in dict.fromkeys(_texts(_unpacked(body)))
    )


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_PACKED):
        return body
    try:
        return zlib.decompressobj(_AUTO_DETECT).decompress(body, _MOST_INFLATED_BYTES)
    except zlib.error:
        return body


def _texts(body: bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace")
    yield text
    if "\\" in text:
        yield _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "\n", text)
    if "%" in text or "+" in text:
        yield unquote_plus(text)


def _names_one(redactor: Redactor, text: str) -> bool:
    for found in _FIELD.finditer(text):
        name = found["json"] or found["form"] or found["part"]
        value = next((found[group] for group in ("text", "number", "plain", "content") if found[group] is not None), "")
        if redactor.is_erased(value_of(NAMES[name], unquote_plus(value) if found["form"] else _written_out(value))):
            return True
    return False


def _written_out(value: str) -> str:
    if "\\" not in value:
        return value
    try:
        return str(orjson.loads(f'"{value}"'))
    except orjson.JSONDecodeError:
        return value
