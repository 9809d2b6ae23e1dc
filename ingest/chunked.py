"""Chunked bodies (RFC 9112 §7.1), strictly: what llhttp passes over in silence is refused here.

llhttp skips chunk extensions of any length without a word, so megabytes can be streamed past every
limit; two servers that read a size line differently are the stuff of request smuggling. So: CRLF
and nothing else ends a line, sizes are 1 to 16 hex digits with no space around them, extensions
and trailers are bounded, checked and thrown away. Pure: no clock, no socket.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from ingest.answers import BAD_FRAMING, BODY_TOO_LARGE, Refused
from ingest.limits import Limits

_SIZE_DIGITS: Final = 16
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,%d})(;[\t\x20-\x7e\x80-\xff]*)?" % _SIZE_DIGITS)
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


class _Expects(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class ChunkedBody:
    """One body, fed in pieces cut anywhere.

    `body` is what came so far, without framing; `done` once the last trailer line is read.
    """

    __slots__ = ("_chunks_left", "_data_left", "_expects", "_limits", "_line", "_trailer_left", "body")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expects = _Expects.SIZE
        self._line = bytearray()  # of a line whose end has not come
        self._data_left = 0
        self._chunks_left = limits.chunks_per_body
        self._trailer_left = limits.trailer_bytes
        self.body = bytearray()

    @property
    def done(self) -> bool:
        """Whether the body is whole."""
        return self._expects is _Expects.NOTHING

    def feed(self, data: bytes, pos: int = 0) -> int:
        """Read `data` from `pos` on; returns where reading stopped: the end, or just behind the body.

        Raises `Refused`: 413 as soon as a chunk is announced that passes the limit, 400 for the rest.
        """
        while pos < len(data) and not self.done:
            match self._expects:
                case _Expects.DATA:
                    pos = self._read_data(data, pos)
                case _Expects.SIZE:
                    pos = self._read_size(data, pos)
                case _Expects.DATA_END:
                    pos = self._read_data_end(data, pos)
                case _:
                    pos = self._read_trailer(data, pos)
        return pos

    def _read_data(self, data: bytes, pos: int) -> int:
        end = min(len(data), pos + self._data_left)
        self.body += data[pos:end]
        self._data_left -= end - pos
        if not self._data_left:
            self._expects = _Expects.DATA_END
        return end

    def _read_data_end(self, data: bytes, pos: int) -> int:
        line, pos = self._read_line(data, pos, max_bytes=0)
        if line is not None:
            self._expects = _Expects.SIZE
        return pos

    def _read_size(self, data: bytes, pos: int) -> int:
        line, pos = self._read_line(data, pos, max_bytes=_SIZE_DIGITS + self._limits.chunk_extension_bytes)
        if line is not None:
            self._begin_chunk(line)
        return pos

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or len(match[2] or b"") > self._limits.chunk_extension_bytes:
            raise Refused(BAD_FRAMING)
        size = int(match[1], 16)
        if not size:
            self._expects = _Expects.TRAILER
            return
        if len(self.body) + size > self._limits.body_bytes:
            raise Refused(BODY_TOO_LARGE)
        if not self._chunks_left:
            raise Refused(BAD_FRAMING)
        self._chunks_left -= 1
        self._data_left = size
        self._expects = _Expects.DATA

    def _read_trailer(self, data: bytes, pos: int) -> int:
        line, pos = self._read_line(data, pos, max_bytes=max(self._trailer_left - 2, 0))
        if line is None:
            return pos
        if not line:
            self._expects = _Expects.NOTHING
        elif _TRAILER_LINE.fullmatch(line) is None:
            raise Refused(BAD_FRAMING)
        self._trailer_left -= len(line) + 2
        return pos

    def _read_line(self, data: bytes, pos: int, *, max_bytes: int) -> tuple[bytes | None, int]:
        """The line that ends in `data`, without its CRLF, or `None` while its end has not come."""
        newline = data.find(b"\n", pos, pos + max_bytes + 2 - len(self._line))
        end = len(data) if newline < 0 else newline + 1
        if newline < 0 and len(self._line) + end - pos > max_bytes + 1:
            raise Refused(BAD_FRAMING)
        self._line += data[pos:end]
        if newline < 0:
            return None, end
        line = bytes(self._line)
        self._line.clear()
        if line[-2:] != b"\r\n":
            raise Refused(BAD_FRAMING)
        return line[:-2], end
