"""What notifications meet: incidents in tables, a target that answers as it is told, certificates."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schemas.incidents import Incident, IncidentChange
from schemas.times import iso_ms
from sinks.tables.asking import Asking

COLUMNS = tuple(Incident.__annotations__)


def put_change(ask: Asking, change: IncidentChange, *, made_ms: int) -> None:
    """What the incident step does with a change, in the transaction of `ask`."""
    body = change["incident"]
    values = [orjson.dumps(value).decode() if name == "samples" else value for name, value in body.items()]
    marks = ", ".join("?" * len(COLUMNS))
    assert tuple(body) == COLUMNS
    ask.rows("DELETE FROM incidents WHERE incident_id = ?", body["incident_id"])
    ask.rows(f"INSERT INTO incidents ({', '.join(COLUMNS)}) VALUES ({marks})", *values)  # type: ignore[arg-type] # noqa: S608  our own names
    ask.rows(
        "INSERT INTO incident_changes (change_id, incident_id, change, at, record, made_at) VALUES (?, ?, ?, ?, ?, ?)",
        *(change["change_id"], body["incident_id"], change["change"], change["at"]),
        *(orjson.dumps(change).decode(), iso_ms(made_ms)),
    )


class Asked(NamedTuple):
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return orjson.loads(self.body)


Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """Somebody's server. `answers` is asked for each path, and gives 200 where it has nothing to say."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Answering] = {}
        self.url = ""
        self._came = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(Asked(request.path, dict(request.headers), await request.read()))
        async with self._came:
            self._came.notify_all()
        answer = self.answers.get(request.path)
        return web.Response(text="taken") if answer is None else await answer(request)

    async def wait_for(self, number: int, *, within_s: float = 15.0) -> list[Asked]:
        async with asyncio.timeout(within_s), self._came:
            await self._came.wait_for(lambda: len(self.asked) >= number)
        return self.asked


@asynccontextmanager
async def standing_in(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    server = web.Server(stand_in.handle)  # type: ignore[arg-type] # it takes what aiohttp takes
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    scheme = "http" if tls is None else "https"
    stand_in.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stand_in
    finally:
        await runner.cleanup()


def answering(status: int, *, headers: dict[str, str] | None = None, text: str = "") -> Answering:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, text=text)

    return answer


def certificate(directory: Path, *, expired: bool = False) -> tuple[Path, ssl.SSLContext]:
    """One of 127.0.0.1, signed by itself: the file to trust, and the context of its server."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    year = 2020 if expired else 2090
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(2019, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(year, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    both = directory / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    trusted = directory / "ca.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    both.write_bytes(private + trusted.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return trusted, context
