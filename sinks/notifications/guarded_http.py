"""One POST to a target: guarded, bounded in time and size, redirects followed by hand.

Every address is judged when its socket is made, so it is the one connected to that is judged, and a name that
resolves to something else a moment later changes nothing. No proxy of the environment is used, no cookie kept, no
answer inflated. What went wrong comes back as one line; nothing is raised for anything a target does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from sinks.notifications.guard import GuardError, Place, Policy, check_address, check_url

MOST_ANSWER_BYTES: Final = 65_536
MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_CONNECT_S: Final = 5.0


class Request(NamedTuple):
    """What is sent. `secrets` are headers for the first host alone; `body_is_secret`: so is the body."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    secrets: Mapping[str, str]
    body_is_secret: bool


class Answer(NamedTuple):
    """What came back. `status` is 0 where nothing did, then `trouble` says why in one line.

    `body` is at most 64 KiB. `guarded`: it was not the target's fault but its address that is not allowed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    trouble: str = ""
    guarded: bool = False


class Transport:
    """How one target is reached. `timeout_s` is for all of a request, its redirects included."""

    def __init__(self, policy: Policy, *, timeout_s: float, ca_file: str | None = None) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    async def post(self, request: Request) -> Answer:
        """Never raises for what a target or its settings do."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._follow(request)
        except TimeoutError:
            answer = _nothing(f"no answer within {self._timeout_s:g} s")
        except GuardError as error:
            answer = _nothing(str(error), guarded=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            answer = _explained(error)
        return answer._replace(seconds=loop.time() - began)

    async def _follow(self, request: Request) -> Answer:
        url, place = request.url, check_url(request.url, self._policy)
        first = place
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._policy),
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls(),
            socket_factory=self._socket,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        ) as session:
            for _ in range(MOST_REDIRECTS + 1):
                answer = await _post(session, url, request, at_home=place == first)
                location = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or not location:
                    return answer
                url = urljoin(url, location)
                place = self._next(url, place, request, at_home=place == first)
        return _nothing(f"redirected more than {MOST_REDIRECTS} times")

    def _next(self, url: str, before: Place, request: Request, *, at_home: bool) -> Place:
        """Where a redirect leads. Raises `GuardError` for where it must not."""
        try:
            place = check_url(url, self._policy)
        except GuardError as error:
            raise GuardError(f"redirected to where nothing must go: {error}") from None
        if before.scheme == "https" and place.scheme != "https":
            raise GuardError("redirected from https to http")
        if request.body_is_secret and (place != before or not at_home):
            raise GuardError(f"redirected to {place.host}, which must not get the key; set url to where it is now")
        return place

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Called by the connector for each address, the last moment before it is connected to."""
        family, kind, protocol, _name, address = info
        check_address(str(address[0]), self._policy)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._ca_file)
        return self._context


class _Resolver(AbstractResolver):
    """The machine's own, with every address judged."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        found: list[ResolveResult] = []
        for kind, _, protocol, _, address in infos:
            check_address(str(address[0]), self._policy)
            found.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    @override
    async def close(self) -> None:
        pass


async def _post(session: aiohttp.ClientSession, url: str, request: Request, *, at_home: bool) -> Answer:
    headers = {"Accept-Encoding": "identity", **request.headers, **(request.secrets if at_home else {})}
    async with session.post(url, data=request.body, headers=headers, allow_redirects=False) as response:
        body = bytearray()
        # A status is an answer whatever becomes of its body: one that drips or never ends is left.
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(_CONNECT_S / 5):
                async for part in response.content.iter_any():
                    body += part
                    if len(body) >= MOST_ANSWER_BYTES:
                        break
        response.close()  # whatever is left is not read
        return Answer(response.status, response.headers, bytes(body[:MOST_ANSWER_BYTES]), 0.0)


def _nothing(trouble: str, *, guarded: bool = False) -> Answer:
    return Answer(0, {}, b"", 0.0, trouble, guarded)


def _explained(error: BaseException) -> Answer:
    """What a library raised, in words: the first of the table that is anywhere in the chain of causes."""
    chain = _causes(error)
    for kind, words in _IN_WORDS:
        for each in reversed(chain):  # aiohttp's own are of these kinds too, without the words
            if isinstance(each, kind):
                return _nothing(words or _of(each), guarded=isinstance(each, GuardError))
    return _nothing(f"it cannot be reached: {type(error).__name__}")


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _of(error: BaseException) -> str:
    """The words of an error itself."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'it speaks something else'}"
    if isinstance(error, GuardError):
        return str(error)
    return f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"


#: From the most telling on. Empty: the error's own words.
_IN_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (GuardError, ""),
    (ssl.SSLCertVerificationError, ""),
    (ssl.SSLError, ""),
    (socket.gaierror, "its name cannot be resolved"),
    (ConnectionRefusedError, "it refuses the connection"),
    (TimeoutError, "it does not take the connection"),
    (ConnectionError, "it closed the connection before it had answered"),
    (aiohttp.ServerDisconnectedError, "it closed the connection before it had answered"),
    (aiohttp.ClientPayloadError, "it closed the connection before it had answered"),
    (aiohttp.ClientResponseError, "what it answers is not HTTP"),
    (ValueError, "what it answers is not HTTP"),
    (OSError, ""),
)
