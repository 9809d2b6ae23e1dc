"""The head of a request: request line and header fields, read by llhttp, judged here.

llhttp is given the head and never a body: it loses bodies behind `Upgrade`, keeps quiet about
chunk extensions, and cannot stop between a head and its body, where the limits must be checked. So
the end of the head is found here, and how the body is framed is decided here, without a doubt left:
at most one of one Content-Length and `Transfer-Encoding: chunked`, nothing else.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import httptools

from ingest.answers import BAD_FRAMING, HEAD_TOO_LARGE, Refused
from ingest.limits import Limits

HEAD_END: Final = b"\r\n\r\n"
_CRLF: Final = b"\r\n"
_LENGTH_DIGITS: Final = 19
_TEXT_CHARACTERS: Final = 200  # of a content type or encoding that are recorded
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Head(NamedTuple):
    """What of a head matters here; the values are as sent, fields sent more than once joined by `, `.

    `length` is 0 where the request named none. `persistent`: the connection may be used again.
    """

    method: bytes
    target: bytes
    persistent: bool
    length: int
    chunked: bool
    expectation: bytes
    content_type: str
    content_encoding: str
    authorization: bytes
    forwarded_for: bytes
    signed_id: bytes
    signed_time: bytes
    signatures: bytes


class _Parsed:
    """What llhttp calls back. Apart from the reader: the parser holds it, and a cycle would outlive the request."""

    __slots__ = ("fields", "target", "whole")

    def __init__(self) -> None:
        self.target = b""
        self.fields: dict[bytes, bytes] = {}
        self.whole = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        fields = self.fields
        fields[name] = fields[name] + b", " + value if name in fields else value

    def on_headers_complete(self) -> None:
        self.whole = True


def read_head(raw: bytes, limits: Limits) -> Head:
    """A head that came in one piece, from its first letter to its empty line. Raises `Refused` like `HeadReader`."""
    _check_size(raw, len(raw) - len(HEAD_END), limits)
    parsed = _Parsed()
    llhttp = httptools.HttpRequestParser(parsed)
    _parse(llhttp, parsed, raw, whole=True)
    return _judged(raw, llhttp.get_method(), parsed, limits)


class HeadReader:
    """One head, fed in pieces cut anywhere; `head` is there once it is whole, `raw` is its exact bytes."""

    __slots__ = ("_limits", "_llhttp", "_parsed", "_started", "head", "raw")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parsed = _Parsed()
        self._llhttp = httptools.HttpRequestParser(self._parsed)
        self._started = False
        self.raw = bytearray()
        self.head: Head | None = None

    def feed(self, data: bytes, pos: int) -> int:
        """Read `data` from `pos` on; returns where reading stopped: the end, or just behind the head.

        Raises `Refused`: 431 past a limit, 400 for what is not a head beyond doubt.
        """
        if not self._started:
            pos = self._skip_empty_line(data, pos)
        known = len(self.raw)
        if not self._started or pos == len(data):
            return pos
        self.raw += data[pos : pos + self._most_bytes() + 1 - known]
        end = self.raw.find(HEAD_END, max(0, known - 3))
        if end >= 0:
            del self.raw[end + 4 :]
        _check_size(self.raw, end, self._limits)
        _parse(self._llhttp, self._parsed, bytes(self.raw[known:]), whole=end >= 0)
        if end >= 0:
            self.head = _judged(self.raw, self._llhttp.get_method(), self._parsed, self._limits)
        return pos + len(self.raw) - known

    def _skip_empty_line(self, data: bytes, pos: int) -> int:
        """One CRLF before a request is passed over (RFC 9112 §2.2); llhttp would take any number."""
        had = len(self.raw)
        self.raw += data[pos : pos + 2 - had]
        if self.raw == b"\r":
            return pos + 1
        if had and self.raw != _CRLF:
            raise Refused(BAD_FRAMING)  # a bare CR, cut off from what follows
        skipped = 2 - had if self.raw == _CRLF else 0
        self.raw.clear()
        self._started = True
        return pos + skipped

    def _most_bytes(self) -> int:
        return self._limits.request_line_bytes + self._limits.headers_bytes + 4


def _check_size(raw: bytes | bytearray, end: int, limits: Limits) -> None:
    """431 as soon as the line or the fields are past their limit, however far the head has come; -1 has no end yet."""
    line = raw.find(_CRLF)
    if line < 0:
        line = len(raw) - raw.endswith(b"\r")
    fields = (end if end >= 0 else len(raw) - 3) - line
    if line > limits.request_line_bytes or fields > limits.headers_bytes:
        raise Refused(HEAD_TOO_LARGE)


def _parse(llhttp: httptools.HttpRequestParser, parsed: _Parsed, piece: bytes, *, whole: bool) -> None:
    try:
        llhttp.feed_data(piece)
    except httptools.HttpParserUpgrade:
        pass  # the head is read; we never change protocol, and the body is ours to read
    except httptools.HttpParserError:
        raise Refused(BAD_FRAMING) from None
    if parsed.whole is not whole:  # llhttp sees another end than we do: someone else may too
        raise Refused(BAD_FRAMING)


def _judged(raw: bytes | bytearray, method: bytes, parsed: _Parsed, limits: Limits) -> Head:
    if raw.count(_CRLF) - 2 > limits.header_fields:  # llhttp takes no field that goes on in a second line
        raise Refused(HEAD_TOO_LARGE)
    # llhttp also reads 0.9, 2.0 and RTSP, and passes over any CR and LF in front.
    line = raw[: raw.find(_CRLF)]
    if not (line.endswith((b" HTTP/1.1", b" HTTP/1.0")) and line[:1].isalpha()):
        raise Refused(BAD_FRAMING)
    is_1_0 = line.endswith(b"0")
    field = parsed.fields.get
    length, chunked = _framing(field(b"content-length"), field(b"transfer-encoding"), is_1_0=is_1_0)
    connection = field(b"connection")
    closes = is_1_0 or (connection is not None and b"close" in _tokens(connection))  # 1.0 may always be closed
    return Head(  # by position, in the order of `Head`: by name costs twice as much
        method,
        parsed.target,
        not closes,
        length,
        chunked,
        b"" if is_1_0 else field(b"expect", b"").lower(),  # RFC 9110 §10.1.1
        _text(field(b"content-type", b"")),
        _text(field(b"content-encoding", b"")),
        field(b"authorization", b""),
        field(b"x-forwarded-for", b""),
        field(b"webhook-id", b""),
        field(b"webhook-timestamp", b""),
        field(b"webhook-signature", b""),
    )


def _framing(length: bytes | None, coding: bytes | None, *, is_1_0: bool) -> tuple[int, bool]:
    """Length and whether chunked. llhttp refuses most of this too; a body's end must not hang on one check.

    A field that was sent twice is refused for the `, ` between its values.
    """
    if coding is not None:
        if length is not None or is_1_0 or coding.strip().lower() != b"chunked":
            raise Refused(BAD_FRAMING)
        return 0, True
    if length is None:
        return 0, False
    digits = length.strip()
    if not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
        raise Refused(BAD_FRAMING)
    return int(digits), False


def _text(value: bytes) -> str:
    """Nearly all are printable and short, and are then taken as they are: the rest is made so."""
    text = value.decode("latin-1")
    return text.strip() if text.isprintable() and len(text) <= _TEXT_CHARACTERS else _bounded(text)


def _bounded(text: str) -> str:
    return _CONTROLS.sub("", text)[:_TEXT_CHARACTERS].strip()


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip().lower() for token in value.split(b",")]
