"""What the roles on Kafka share: brokers have to be named, and their admin port has health and metrics only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sendtrace.settings import Settings, SettingsError
from sendtrace.web_guard import Guard
from sendtrace.web_health import livez, metrics_of

_NO_BROKERS: Final = (
    "kafka.bootstrap_servers is empty, expected addresses host:port; set it, or use `sendtrace up` to go without Kafka"
)


def require_brokers(settings: Settings) -> None:
    """Raises `SettingsError` when no broker is named."""
    if not settings.kafka.bootstrap_servers:
        raise SettingsError(_NO_BROKERS)


def health_app(settings: Settings, collector: Collector, readyz: Callable[[Request], Awaitable[Response]]) -> Guard:
    """`/livez`, the role's own `/readyz`, and `/metrics` with what `collector` tells, behind the admin's token."""
    token = settings.admin.token
    app = Starlette(
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics_of(collector)),
        ]
    )
    return Guard(app, token=None if token is None else token.get_secret_value(), host=settings.admin.host)
