"""The admin surface: health, metrics, read API and the page for people, as one ASGI application.

It changes nothing and is served on a port of its own, on loopback unless `[admin] token` is set.
Every error has one shape, whatever raised it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, cast

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sendtrace.kafka_topics import BrokerError
from sendtrace.metrics_collector import SendtraceCollector
from sendtrace.read_side import Readable, ReadSide
from sendtrace.web_answers import ApiError, error_answer, json_answer
from sendtrace.web_api import ENDPOINTS, Endpoint
from sendtrace.web_docs import docs, openapi
from sendtrace.web_guard import Guard
from sendtrace.web_health import livez, metrics_of, readyz_of
from sendtrace.web_html import HTML_HEADERS
from sendtrace.web_incidents import incident_page
from sendtrace.web_message import message_page
from sendtrace.web_page import page
from sendtrace.web_query import read_query
from sinks.tables.pages import CursorError
from sinks.tables.trouble import TablesError

_RETRY_AFTER_S: Final = 10
_NOTHING_HERE: Final = "there is nothing here; /docs lists what there is"
_UNREADABLE: Final = "tables or raw log cannot be read now; the log of the process says why"

_log = logging.getLogger(__name__)


def admin_app(side: ReadSide, *, token: str | None, host: str) -> ASGIApp:
    """The application. `token` and `host` are those of `[admin]`; without a token `host` must be loopback."""
    health = [Route("/readyz", readyz_of(side)), Route("/metrics", metrics_of(SendtraceCollector(side)))]
    return read_app(side, health, token=token, host=host)


def read_app(side: Readable, health: Sequence[Route], *, token: str | None, host: str) -> ASGIApp:
    """Read API and page, with `/readyz` and `/metrics` of whoever serves them."""
    app = Starlette(
        routes=[
            Route("/livez", livez),
            *health,
            Route("/", lambda _request: page(side)),
            Route("/incidents/{incident_id}", lambda request: incident_page(side, request.path_params["incident_id"])),
            Route("/messages/{message_id}", lambda request: message_page(side, request.path_params["message_id"])),
            Route("/docs", _fixed(docs().encode(), HTML_HEADERS)),
            Route("/openapi.json", _fixed(orjson.dumps(openapi()), {"Content-Type": "application/json"})),
            *(Route(endpoint.path, _answers(endpoint, side)) for endpoint in ENDPOINTS),
        ],
        exception_handlers={
            ApiError: _api_error,
            CursorError: _cursor_error,
            HTTPException: _http_error,
            sqlite3.Error: _unreadable,
            TablesError: _unreadable,
            BrokerError: _unreadable,
            OSError: _unreadable,
            Exception: _fault,
        },
    )
    app.router.redirect_slashes = False  # it would send people to whatever Host they named
    return Guard(app, token=token, host=host)


def _answers(endpoint: Endpoint, side: Readable) -> Callable[[Request], Response]:
    """A plain function, so that Starlette runs it in the thread pool."""

    def answer(request: Request) -> Response:
        asked = read_query(request.scope["query_string"], endpoint.parameters)
        return json_answer(endpoint.answer(side, asked, request.path_params))

    return answer


def _fixed(content: bytes, headers: dict[str, str]) -> Callable[[Request], Response]:
    return lambda _request: Response(content, headers=headers)


def _api_error(_request: Request, error: Exception) -> Response:
    known = cast(ApiError, error)
    return error_answer(known.status, known.code, known.message)


def _cursor_error(_request: Request, error: Exception) -> Response:
    return error_answer(400, "bad_cursor", str(error))


def _http_error(_request: Request, error: Exception) -> Response:
    """404 and 405 of the router."""
    known = cast(HTTPException, error)
    status = HTTPStatus(known.status_code)
    words = status.phrase.lower()
    message = _NOTHING_HERE if status is HTTPStatus.NOT_FOUND else words
    return error_answer(status, words.replace(" ", "_"), message, headers=known.headers)


def _unreadable(_request: Request, error: Exception) -> Response:
    _log.error("read API: tables or raw log cannot be read: %s", error)
    retry = {"Retry-After": str(_RETRY_AFTER_S)}
    return error_answer(503, "unreadable", _UNREADABLE, headers=retry)


def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of ours; Starlette raises it again after the answer, so that it is logged with its place."""
    return error_answer(500, "internal", "a fault of ours; the log of the process says where")
