"""The admin surface on a real port: uvicorn in a thread of its own, asked over plain sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from threading import Thread
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

import orjson
import uvicorn
from starlette.types import ASGIApp

from ingest.counters import Counters
from ingest.file_log import LogStats
from sendtrace.read_side import LogView, ReadSide
from sendtrace.web import admin_app
from tests.integration.read_rig import Plant

_PATIENCE_S = 10


class Answered(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  whatever was answered
        """The body, read as JSON."""
        assert self.headers["content-type"] == "application/json"
        return orjson.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the code of an error, whose shape is checked."""
        (error,) = self.json.values()
        assert sorted(error) == ["code", "message"]
        assert all(isinstance(value, str) and value for value in error.values())
        return self.status, error["code"]


class Client:
    """Asks one server, over one connection that stays open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)

    def get(
        self,
        path: str,
        asked: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> Answered:
        """One answer; `asked` becomes the query."""
        target = f"{path}?{urlencode(asked)}" if asked else path
        self._connection.request(method, target, headers=dict(headers or {}))
        response = self._connection.getresponse()
        body = response.read()
        return Answered(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def raw(self, head: bytes) -> bytes:
        """The whole answer to bytes sent as they are, on a connection of its own."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE_S)) as sock:
            sock.sendall(head)
            parts = iter(lambda: sock.recv(65_536), b"")
            return b"".join(parts)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def side_of(plant: Plant, **changes: Callable[[], object]) -> ReadSide:
    """What `sendtrace up` would hand to the admin surface, at rest."""
    log = LogView(plant.paths.raw, durable_end=lambda: None)
    parts: dict[str, object] = {
        "gateway_counters": lambda: Counters.of(("braze", "nrs")),
        "log_stats": LogStats,
        "durable_end": log.end_position,
        "processor_restarts": lambda: 0,
        "processor_alive": lambda: True,
        "can_keep": lambda: True,
    }
    return ReadSide(reader=plant.reader, log=log, **cast(dict[str, Any], parts | changes))


@contextmanager
def serving(app: ASGIApp) -> Iterator[Client]:
    """Serve until the block ends."""
    config = uvicorn.Config(app, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        client = Client(port)
        try:
            yield client
        finally:
            client.close()
            server.should_exit = True
            thread.join()


@contextmanager
def asking(plant: Plant, *, token: str | None = None, host: str = "127.0.0.1") -> Iterator[Client]:
    """The admin surface of a plant."""
    with serving(admin_app(side_of(plant), token=token, host=host)) as client:
        yield client
