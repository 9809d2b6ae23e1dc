"""Who may see the admin surface, and what a browser may do with what it got.

With a token every address but the two probes needs it. Without one the surface listens on loopback
alone, where a page of somebody else's could still reach it under a name of theirs that points here
(DNS rebinding): so only requests for a name of this machine are answered. The guard reads nothing
but headers and the path, and logs nothing.
"""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sendtrace.web_answers import error_answer

#: Probes of an orchestrator have no credentials, and learn nothing but how the parts are.
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})

_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),  # bodies hold personal data
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Guard:
    """The outermost layer of the admin surface. `host` is the configured name or address it listens on."""

    def __init__(self, app: ASGIApp, *, token: str | None, host: str) -> None:
        self._app = app
        self._token_digest = None if token is None else sha256(token.encode()).digest()
        self._host = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(row for row in _HEADERS if row[0] not in given)]
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if self._token_digest is not None:
            return None if scope["path"] in OPEN_PATHS or self._has_token(scope) else _unauthorized()
        hosts = _header(scope, b"host")
        # Browsers always say a host; whoever says none (HTTP/1.0) is no browser.
        return None if all(map(self._is_ours, hosts)) and len(hosts) <= 1 else _foreign_host()

    def _has_token(self, scope: Scope) -> bool:
        given = _header(scope, b"authorization")
        token = _token_in(given[0]) if len(given) == 1 else b""
        # Digests: neither the length of the token nor how much of it was right shows in the time this takes.
        return compare_digest(sha256(token).digest(), self._token_digest or b"")

    def _is_ours(self, header: bytes) -> bool:
        name = _without_port(header.decode("latin-1").strip().lower()).removesuffix(".")
        if name in {"localhost", self._host}:
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False


def _token_in(authorization: bytes) -> bytes:
    """What `Authorization` offers: a Bearer token, or the password a browser asked its user for; empty if neither."""
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _header(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]


def _without_port(host: str) -> str:
    """`[::1]:8081` → `::1`, `localhost:8081` → `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _unauthorized() -> Response:
    message = "send the token of [admin] as Authorization: Bearer TOKEN, or in a browser as the password of any user"
    challenges = 'Basic realm="sendtrace", charset="UTF-8", Bearer realm="sendtrace"'
    return error_answer(401, "unauthorized", message, headers={"WWW-Authenticate": challenges})


def _foreign_host() -> Response:
    return error_answer(
        403,
        "foreign_host",
        "without [admin] token only requests for localhost, 127.0.0.1 or [::1] are answered;"
        " use one of these, or set a token",
    )
