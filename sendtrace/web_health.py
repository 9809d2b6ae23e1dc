"""Liveness, readiness and metrics: what orchestrators and scrapers ask.

`/livez` says that the event loop turns, and nothing else: a restart mends nothing else. `/readyz`
says whether a postback could be kept now; a processor that is down or behind is shown and does not
change that, because keeping is the promise and the rest is caught up later.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from sendtrace.metrics_collector import CONTENT_TYPE, exposition, registry_of
from sendtrace.read_side import ReadSide
from sendtrace.web_answers import json_answer
from sinks.tables.trouble import TablesError

_PROBE_WAIT_S: Final = 1.0


async def livez(_request: Request) -> Response:
    """On the event loop itself: an answer is the proof."""
    return json_answer({"alive": True})


def readyz_of(side: ReadSide) -> Callable[[Request], Awaitable[Response]]:
    """The readiness endpoint. Never waits long for a disk: readiness is asked for when things go wrong."""

    async def readyz(_request: Request) -> Response:
        ready = side.can_keep()
        position = await _position(side)
        end = side.durable_end()
        state = {
            "ready": ready,
            "log": {"can_keep": ready, "end_position": end},
            "processor": {
                "alive": side.processor_alive(),
                "restarts": side.processor_restarts(),
                "position": position,
            },
            "lag": {"bytes": None if position is None else max(0, end - position)},
        }
        return json_answer(state, status=200 if ready else 503)

    return readyz


def metrics_of(collector: Collector) -> Callable[[Request], Response]:
    """The endpoint Prometheus scrapes; runs in the thread pool."""
    registry = registry_of(collector)

    def metrics(_request: Request) -> Response:
        return Response(exposition(registry), headers={"Content-Type": CONTENT_TYPE})

    return metrics


async def _position(side: ReadSide) -> int | None:
    """How far the tables are; `None` when they do not say so in time."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(side.reader.progress), _PROBE_WAIT_S)
    except (TimeoutError, sqlite3.Error, TablesError, OSError):
        return None
