"""Read a form, urlencoded or multipart, into names and texts; or find out that the body is JSON after all.

The content type is believed where it fits the bytes; senders that name the wrong one are common, and
the bytes show it. Refuses files without bound, forms cut short, and two values for one name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from processors.bodies import EMPTY, FORM_START, Fields, read_json, repeated_name
from schemas.event import Rejected
from schemas.rejections import RejectReason

#: facts/reliability.md §5 item 9.
FORM_FIELDS_MAX: Final = 1000
PART_HEADER_MAX_BYTES: Final = 4096
CONTENT_TYPE_MAX_CHARS: Final = 1024

CONTENT_TYPE_IGNORED: Final = "content_type_ignored"
CHARSET_UNKNOWN: Final = "charset_unknown"
CHARSET_FALLBACK: Final = "charset_fallback"

_FORM: Final = b"application/x-www-form-urlencoded"
_MULTIPART: Final = b"multipart/form-data"
_FIRST_BOUNDARY: Final = re.compile(rb"\s{0,8}--([^\r\n]{1,70})\r\n")
#: JSON, or what `read_json` has the better sentence for: a byte order mark, gzip without its header.
_NOT_A_FORM: Final = re.compile(rb"\s*[{\[]|\xef\xbb\xbf|\x1f\x8b")
#: Codecs that map bytes to characters one by one or nearly so. Python has others under names a sender
#: may choose (idna, unicode_escape, utf-7), which are slow or make lone surrogates.
_CHARSETS: Final = re.compile(
    r"utf-?8|us-ascii|ascii|latin-?1|iso-8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|shift_jis|euc-jp|euc-kr|gbk|big5"
)

#: The parser warns of every damaged form, with bytes of it. The refusal says what people need.
_SILENT: Final = logging.Logger("forms", logging.CRITICAL + 1)  # noqa: LOG001 - outside the tree: no setting wakes it

_NO_PAIR: Final = Rejected(RejectReason.INVALID_FORM, "The body has no name=value pair, so it is not a form.")
_CUT_SHORT: Final = Rejected(RejectReason.INVALID_FORM, "The multipart form ends before its closing boundary.")
_NO_BOUNDARY: Final = Rejected(
    RejectReason.INVALID_FORM, "The multipart form cannot be read: its boundary is neither named nor found."
)
_TOO_MANY: Final = Rejected(RejectReason.TOO_MANY_FIELDS, f"The form has more than {FORM_FIELDS_MAX} fields.")


class Pair(NamedTuple):
    """One field as bytes, with the charset its own part names (`""`: the request's)."""

    name: bytes
    value: bytes
    charset: str = ""


def read_form_or_json(body: bytes, content_type: str) -> tuple[Fields, tuple[str, ...]] | Rejected:
    """Names and values, and flags for what was odd about the form. JSON comes as `read_json` reads it."""
    media, parameters = _content_type(content_type)
    form_like = FORM_START.match(body) is not None
    if _NOT_A_FORM.match(body) or (media.endswith(b"json") and not form_like):
        found = read_json(body)
        return found if isinstance(found, Rejected) else (found, _ignored(media in {_FORM, _MULTIPART}))
    if not body.strip():
        return EMPTY
    charset = parameters.get(b"charset", b"").decode("latin-1")
    if media == _MULTIPART or _FIRST_BOUNDARY.match(body):
        pairs = _multipart_pairs(body, parameters.get(b"boundary", b""))
        ignored = media not in {_MULTIPART, b""}
    else:
        pairs = _urlencoded_pairs(body)
        ignored = media.endswith(b"json")
    return pairs if isinstance(pairs, Rejected) else _texts(pairs, charset, _ignored(ignored))


def _ignored(content_type_is_wrong: bool) -> tuple[str, ...]:  # noqa: FBT001 - private, one fact
    return (CONTENT_TYPE_IGNORED,) if content_type_is_wrong else ()


def _content_type(header: str) -> tuple[bytes, dict[bytes, bytes]]:
    return _parsed_header(header[:CONTENT_TYPE_MAX_CHARS])


@lru_cache(maxsize=256)
def _parsed_header(header: str) -> tuple[bytes, dict[bytes, bytes]]:
    """A sender's content type hardly ever changes. The parser takes latin-1 only, as HTTP does."""
    return parse_options_header(header.encode("latin-1", "replace").decode("latin-1"))


def _urlencoded_pairs(body: bytes) -> list[Pair] | Rejected:
    """Pairs in the order sent; a line end after the last, as command-line tools leave, is no part of it."""
    if body.count(b"&") >= FORM_FIELDS_MAX:
        return _TOO_MANY
    if b"=" not in body:
        return _NO_PAIR
    pieces = (piece.partition(b"=") for piece in body.rstrip(b"\r\n").split(b"&") if piece)
    return [Pair(_unquote(name), _unquote(value)) for name, _, value in pieces]


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _multipart_pairs(body: bytes, boundary: bytes) -> list[Pair] | Rejected:
    """The parts of a form (RFC 7578). A boundary that opens the body beats a header that lost it."""
    opening = _FIRST_BOUNDARY.match(body)
    if opening:
        boundary = opening[1].rstrip()
    if not boundary:
        return _NO_BOUNDARY
    parts = _Parts()
    try:
        parts.read(body.lstrip(b"\r\n"), boundary)
    except _TooManyPartsError:
        return _TOO_MANY
    except FormParserError:
        return Rejected(RejectReason.INVALID_FORM, "The multipart form is damaged or does not use its boundary.")
    return parts.pairs if parts.ended else _CUT_SHORT


class _TooManyPartsError(Exception):
    """The form goes on past `FORM_FIELDS_MAX`."""


class _Parts:
    """What the parser calls back with, collected part by part."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._content = b""
        self._data = bytearray()

    def read(self, body: bytes, boundary: bytes) -> None:
        """Raises `FormParserError` or `_TooManyPartsError`."""
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_size=PART_HEADER_MAX_BYTES,
        )
        parser.logger = _SILENT
        parser.write(body)
        parser.finalize()

    def _begin(self) -> None:
        if len(self.pairs) >= FORM_FIELDS_MAX:
            raise _TooManyPartsError
        self._headers, self._data = {}, bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._content
        self._name = self._content = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        _, disposition = _content_type(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        _, content = _content_type(self._headers.get(b"content-type", b"").decode("latin-1"))
        charset = content.get(b"charset", b"").decode("latin-1")
        self.pairs.append(Pair(disposition.get(b"name", b""), bytes(self._data), charset))

    def _end(self) -> None:
        self.ended = True


def _texts(pairs: Iterable[Pair], charset: str, flags: tuple[str, ...]) -> tuple[Fields, tuple[str, ...]] | Rejected:
    fields: Fields = {}
    odd = dict.fromkeys(flags)
    for pair in pairs:
        codec = (pair.charset or charset).lower()
        if codec and not _CHARSETS.fullmatch(codec):
            odd[CHARSET_UNKNOWN] = None
            codec = ""
        name, value = _text(pair.name, codec, odd), _text(pair.value, codec, odd)
        if fields.setdefault(name, value) != value:
            return repeated_name(name)
    return (fields, tuple(odd)) if fields else _NO_PAIR


def _text(raw: bytes, charset: str, odd: dict[str, None]) -> str:
    """In the charset named, else UTF-8, else windows-1252 as browsers read it, whose gaps are control codes."""
    for codec in (charset, "utf-8", "cp1252") if charset else ("utf-8", "cp1252"):
        try:
            text = raw.decode(codec)
        except (UnicodeDecodeError, LookupError):
            odd[CHARSET_FALLBACK] = None
            continue
        return text
    return raw.decode("latin-1")
