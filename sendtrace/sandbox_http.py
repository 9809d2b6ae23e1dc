"""A small HTTP/1.1 client for the stand-in providers: POST a body, learn the status code.

Keeps connections open like a provider's pool, follows no redirects, and reads an answer only as far
as it must. Not for anything that needs more than the status.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

ANSWER_WITHIN_S: Final = 20.0
_MOST_ANSWER_BYTES: Final = 64 * 1024
_MOST_IDLE: Final = 64
_PORTS: Final = {"http": 80, "https": 443}
_STATUS_WORDS: Final = 2

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class NoAnswerError(Exception):
    """No connection, no answer in time, or one that is not HTTP."""


class Poster:
    """Posts to one URL. Used by one event loop."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` with a sentence for people when `url` is not an http or https address."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("expected http://… or https://…")
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: list[_Connection] = []
        self._head = _head(
            parts.path or "/", parts.query, parts.netloc.rpartition("@")[2], parts.username, parts.password
        )

    async def post(self, content_type: str, body: bytes) -> int:
        """The status code of the answer. Raises `NoAnswerError`."""
        request = self._head % (content_type.encode("latin-1"), len(body)) + body
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self._idle:
                    code = await self._exchange(self._idle.pop(), request)
                    if code is not None:
                        return code
                code = await self._exchange(await self._connect(), request)
        except (OSError, ValueError, TimeoutError) as error:
            raise NoAnswerError from error
        if code is None:
            raise NoAnswerError
        return code

    def close(self) -> None:
        """Give the idle connections back."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connect(self) -> _Connection:
        return await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_MOST_ANSWER_BYTES)

    async def _exchange(self, connection: _Connection, request: bytes) -> int | None:
        """The status code; `None` when the other side had closed the connection before the request."""
        reader, writer = connection
        keep = False
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            code, keep = await _answer(head, reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
        finally:
            if keep and len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                writer.close()
        return code


def _head(path: str, query: str, host: str, user: str | None, password: str | None) -> bytes:
    """The request up to its content type and length, which are left open as `%b` and `%d`."""
    target = (f"{path}?{query}" if query else path).replace("%", "%%")
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", "User-Agent: sendtrace-sandbox"]
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append(f"Authorization: Basic {b64encode(pair).decode()}")
    return "\r\n".join((*lines, "Content-Type: %b", "Content-Length: %d", "", "")).encode("ascii")


async def _answer(head: bytes, reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status code, and whether the connection may be used again. Raises `ValueError` for what is not HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if not words[0].startswith("HTTP/1.") or len(words) < _STATUS_WORDS:
        raise ValueError("not an HTTP answer")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length", "")
    if not length.isdecimal() or int(length) > _MOST_ANSWER_BYTES:
        return int(words[1]), False
    await reader.readexactly(int(length))
    return int(words[1]), fields.get("connection", "").lower() != "close"
