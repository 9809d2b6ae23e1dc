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
        self.fields: list[tuple[bytes, bytes]] = []
        self.whole = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.whole = True


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
        self._check_size(end)
        self._parse(bytes(self.raw[known:]), whole=end >= 0)
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

    def _check_size(self, end: int) -> None:
        """431 as soon as the line or the fields are past their limit, however far the head has come."""
        line = self.raw.find(_CRLF)
        if line < 0:
            line = len(self.raw) - self.raw.endswith(b"\r")
        fields = (end if end >= 0 else len(self.raw) - 3) - line
        if line > self._limits.request_line_bytes or fields > self._limits.headers_bytes:
            raise Refused(HEAD_TOO_LARGE)

    def _parse(self, piece: bytes, *, whole: bool) -> None:
        try:
            self._llhttp.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # the head is read; we never change protocol, and the body is ours to read
        except httptools.HttpParserError:
            raise Refused(BAD_FRAMING) from None
        if self._parsed.whole is not whole:  # llhttp sees another end than we do: someone else may too
            raise Refused(BAD_FRAMING)
        if whole:
            self.head = self._judged()

    def _judged(self) -> Head:
        if len(self._parsed.fields) > self._limits.header_fields:
            raise Refused(HEAD_TOO_LARGE)
        line = self.raw[: self.raw.find(_CRLF)]
        # llhttp also reads 0.9, 2.0 and RTSP, and passes over any CR and LF in front.
        if not (line.endswith((b" HTTP/1.1", b" HTTP/1.0")) and line[:1].isalpha()):
            raise Refused(BAD_FRAMING)
        is_1_0 = line.endswith(b"0")
        length, chunked = self._framing(is_1_0=is_1_0)
        return Head(
            method=self._llhttp.get_method(),
            target=self._parsed.target,
            persistent=not is_1_0 and b"close" not in _tokens(self._field(b"connection")),  # 1.0 may always be closed
            length=length,
            chunked=chunked,
            expectation=b"" if is_1_0 else self._field(b"expect").lower(),  # RFC 9110 §10.1.1
            content_type=_text(self._field(b"content-type")),
            content_encoding=_text(self._field(b"content-encoding")),
            authorization=self._field(b"authorization"),
            forwarded_for=self._field(b"x-forwarded-for"),
            signed_id=self._field(b"webhook-id"),
            signed_time=self._field(b"webhook-timestamp"),
            signatures=self._field(b"webhook-signature"),
        )

    def _framing(self, *, is_1_0: bool) -> tuple[int, bool]:
        """Length and whether chunked. llhttp refuses most of this too; a body's end must not hang on one check."""
        lengths = [value for name, value in self._parsed.fields if name == b"content-length"]
        codings = [value for name, value in self._parsed.fields if name == b"transfer-encoding"]
        if codings:
            if lengths or is_1_0 or len(codings) > 1 or codings[0].strip().lower() != b"chunked":
                raise Refused(BAD_FRAMING)
            return 0, True
        if not lengths:
            return 0, False
        digits = lengths[0].strip()
        if len(lengths) > 1 or not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
            raise Refused(BAD_FRAMING)
        return int(digits), False

    def _field(self, wanted: bytes) -> bytes:
        return b", ".join([value for name, value in self._parsed.fields if name == wanted])


def _text(value: bytes) -> str:
    return _CONTROLS.sub("", value.decode("latin-1"))[:_TEXT_CHARACTERS].strip()


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip().lower() for token in value.split(b",")]
