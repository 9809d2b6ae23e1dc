"""The answers of the admin surface: JSON, and one shape for every error.

An error says what was wrong and what was expected, and repeats of the request at most a short,
plain form of one name or value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from starlette.responses import Response

_SHOWN_CHARS: Final = 60


class ApiError(Exception):
    """Raised by an endpoint instead of an answer; `code` is a word for programs, `message` a sentence for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as compact JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def error_answer(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": {"code", "message"}}`."""
    return json_answer({"error": {"code": code, "message": message}}, status=status, headers=headers)


def shown(text: str) -> str:
    """A text of a request as it may stand in an answer: short, printable ASCII, in quotes."""
    plain = text[:_SHOWN_CHARS].encode("unicode_escape").decode("ascii")
    return f"'{plain}{'…' if len(text) > _SHOWN_CHARS else ''}'"
