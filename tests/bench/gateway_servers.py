"""The servers that are compared, one a process: a bare ASGI app, our gateway keeping nothing, our gateway durable.

The two gateways run in the very server that `sendtrace up` makes. None of them processes what it takes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import orjson
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from ingest.auth import Source
from ingest.file_log import FileLog
from ingest.gateway import Gateway
from ingest.limits import Limits
from schemas.ports import PostbackLog, Waiter
from schemas.postback import Postback
from sendtrace.clock import SystemClock
from sendtrace.serving import Server, gateway_server, listen, served

Kind = Literal["asgi", "nothing", "durable"]

TOKEN: Final = "bench-0123456789-abcdefghijklmnopqrstuvwxyz"
PATH: Final = f"/in/braze/{TOKEN}"
_START: Final = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
_BODY: Final = {"type": "http.response.body", "body": b""}


@dataclass(frozen=True, slots=True)
class Task:
    """Which server, and where the durable one keeps its log."""

    kind: Kind
    directory: str


class NothingLog:
    """Keeps nothing and says at once that it did: what remains is the cost of the gateway itself."""

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """The port's method."""
        del postback
        waiter.settle(True)

    def can_keep(self) -> bool:
        """The port's method."""
        return True


async def bare_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The least an ASGI application can do for a postback: read it and answer."""
    del scope
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send(_BODY)


def _asgi_server() -> Server:
    config = uvicorn.Config(
        bare_app,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=4_096,
    )
    return Server(config)


def _gateway(log: PostbackLog) -> Server:
    source = Source(name="braze", provider="braze", token_sha256=(sha256(TOKEN.encode()).hexdigest(),))
    return gateway_server(Gateway(sources=(source,), log=log, limits=Limits(), clock=SystemClock()))


@asynccontextmanager
async def _server(task: Task) -> AsyncIterator[Server]:
    if task.kind == "asgi":
        yield _asgi_server()
    elif task.kind == "nothing":
        yield _gateway(NothingLog())
    else:
        log = FileLog(Path(task.directory), clock=SystemClock())
        log.start()
        yield _gateway(log)
        await log.close()


async def _serve(task: Task) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sock = listen("bench", "127.0.0.1", 0, lambda text: print(text, file=sys.stderr))
    async with _server(task) as server, served(server, sock):
        print(orjson.dumps({"port": sock.getsockname()[1]}).decode(), flush=True)
        await stop.wait()


def main(argument: str) -> None:
    """`python -m tests.bench.gateway_servers TASK`, the task as JSON."""
    uvloop.run(_serve(Task(**orjson.loads(argument))))


if __name__ == "__main__":
    main(sys.argv[1])
