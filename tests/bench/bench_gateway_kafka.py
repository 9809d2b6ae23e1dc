"""Requests a second that Kafka acknowledged to `sendtrace gateway` before its 200, beside servers that keep nothing.

Interleaved: nginx's static 200 (left out where nginx is not installed), the bare ASGI app, our gateway keeping nothing,
and `sendtrace gateway` with acks=all on six partitions; if asked for, Redpanda Connect doing the same. CPU seconds of a
server are its own; the broker's are told beside them. Every 200 of the whole run must be on the raw topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Final, NamedTuple

from schemas.topics import RAW
from tests.bench.bench_gateway import CONNECTIONS
from tests.bench.contenders import Place, Server, gateway
from tests.bench.gateway_servers import PATH, Kind, Task
from tests.bench.kafka_side import PARTITIONS, Asked, Kafka, asking, private_kafka
from tests.bench.load_client import Load, Outcome
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.nginx_server import is_installed, nginx
from tests.bench.processes import BenchError, helper, send
from tests.bench.redpanda_connect import can_be_built, redpanda_connect
from tests.kafka.kafka_rig import create_topics

_BODIES: Final = 1_000
_WARM_UP_S: Final = 1.0
_PREFIX: Final = "gateway."
_CONNECT_TOPIC: Final = "connect.raw"
_DRAINED_S: Final = 60.0
_LOOK_S: Final = 0.2
_ASGI: Final[tuple[Kind, ...]] = ("asgi", "nothing")
_PEERS: Final = ("nginx", "asgi", "connect")


class Round(NamedTuple):
    """One server in one round."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_1000: float
    broker_cpu_ms_per_1000: float
    others_share: float


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    with private_kafka(plan.directory) as kafka:
        return asyncio.run(_run(plan, kafka))


async def _run(plan: Plan, kafka: Kafka) -> Result:
    found: dict[str, list[Round]] = {}
    async with asking(kafka.address) as asked, _servers(plan, kafka) as servers:
        kept = (await asyncio.to_thread(send, _load(plan, servers["kafka"], kafka))).kept  # the broker compiles itself
        for number in range(plan.rounds):
            for name, server in servers.items():
                done = await asyncio.to_thread(send, _load(plan, server, kafka))
                kept += done.kept if name == "kafka" else 0
                found.setdefault(name, []).append(_round(done, server, kafka))
                plan.say(f"round {number + 1}: {name} {done.per_s:,.0f}/s")
        await _all_kept(asked, kept)
    peers = {f"to_{peer}": found[peer] for peer in _PEERS if peer in found}
    return {
        "connections": CONNECTIONS,
        "partitions": PARTITIONS,
        "kept": kept,
        "servers": {
            name: {**_summary(rounds), **{to: _ratios(rounds, theirs) for to, theirs in peers.items()}}
            for name, rounds in found.items()
        },
    }


@asynccontextmanager
async def _servers(plan: Plan, kafka: Kafka) -> AsyncIterator[dict[str, Server]]:
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        if is_installed():
            listening = stack.enter_context(nginx(plan.directory / "nginx"))
            servers["nginx"] = Server(listening.port, PATH, listening.pid)
        else:
            plan.say("nginx is not installed, so nothing is held to its static 200; Debian and Ubuntu: nginx-light")
        for kind in _ASGI:
            started = stack.enter_context(helper("tests.bench.gateway_servers", Task(kind, "")))
            servers[kind] = Server(int(str(started.told()["port"])), PATH, started.pid)
        await create_topics(kafka.address, _PREFIX + RAW.name, partitions=PARTITIONS)
        if plan.peers:
            servers |= await _connect(plan, kafka, stack)
        async with gateway(Place(kafka, _PREFIX, plan.directory)) as server:
            yield {**servers, "kafka": server}


async def _connect(plan: Plan, kafka: Kafka, stack: ExitStack) -> dict[str, Server]:
    if not can_be_built():
        plan.say("there is no Go, so nothing is held to Redpanda Connect")
        return {}
    await create_topics(kafka.address, _CONNECT_TOPIC, partitions=PARTITIONS)
    directory = plan.directory / "connect"
    settings = redpanda_connect(directory, address=kafka.address, topic=_CONNECT_TOPIC, path=PATH)
    started = await asyncio.to_thread(stack.enter_context, settings)  # it may have to be built
    return {"connect": Server(started.port, PATH, started.pid)}


async def _all_kept(asked: Asked, kept: int) -> None:
    """What went to the spool for a moment is on its way to the topic."""
    try:
        async with asyncio.timeout(_DRAINED_S):
            while await asked.written(_PREFIX + RAW.name) < kept:  # noqa: ASYNC110  it is the broker's to know
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        there = await asked.written(_PREFIX + RAW.name)
        raise BenchError(f"{kept} postbacks were answered 200, the raw topic has {there} records") from None


def _load(plan: Plan, server: Server, kafka: Kafka) -> Load:
    return Load(
        port=server.port,
        path=server.path,
        seconds=plan.seconds,
        warm_up_s=min(_WARM_UP_S, plan.seconds),
        bodies=_BODIES,
        seed=1,
        connections=CONNECTIONS,
        watched=(server.pid, kafka.pid),
    )


def _round(done: Outcome, server: Server, kafka: Kafka) -> Round:
    own_s, broker_s = done.cpu_s[str(server.pid)], done.cpu_s[str(kafka.pid)]
    return Round(
        per_s=done.per_s,
        p50_ms=done.p50_ms,
        p99_ms=done.p99_ms,
        cpu_ms_per_1000=own_s * 1e6 / done.measured,
        broker_cpu_ms_per_1000=broker_s * 1e6 / done.measured,
        others_share=done.others_share,
    )


def _summary(rounds: list[Round]) -> Result:
    return {
        **{name: median(getattr(one, name) for one in rounds) for name in Round._fields},
        "per_s_spread": spread(one.per_s for one in rounds),
    }


def _ratios(ours: list[Round], theirs: list[Round]) -> Result:
    """Medians of each round's own ratio."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "per_s": median(one.per_s / other.per_s for one, other in pairs),
        "per_cpu_s": median(other.cpu_ms_per_1000 / one.cpu_ms_per_1000 for one, other in pairs),
        "p50_ms": median(one.p50_ms / other.p50_ms for one, other in pairs),
        "p99_ms": median(one.p99_ms / other.p99_ms for one, other in pairs),
    }
