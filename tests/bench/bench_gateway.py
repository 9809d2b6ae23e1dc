"""Requests a second with fsync before every 200, beside what the same machine does without, in the same run.

Four cases over three servers, interleaved: `asgi`, `nothing`, `durable`, and `durable_own_heads`,
where no request's head is like another's, as behind a proxy that numbers requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.gateway_servers import PATH, Kind, Task
from tests.bench.load_client import Load
from tests.bench.machine import disk
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.processes import Helper, helper, send

CONNECTIONS: Final = 64
_BODIES: Final = 1_000
_OWN_HEADS: Final = 20_000  # far more than the gateway remembers, so none is met again in time
_WARM_UP_S: Final = 1.0


class Case(NamedTuple):
    """One column of the table."""

    name: str
    kind: Kind
    own_heads: bool = False


CASES: Final = (
    Case("asgi", "asgi"),
    Case("nothing", "nothing"),
    Case("durable", "durable"),
    Case("durable_own_heads", "durable", own_heads=True),
)
PEER: Final = "asgi"


class Round(NamedTuple):
    """One case in one round."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_1000: float
    others_share: float


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    found: dict[str, list[Round]] = {case.name: [] for case in CASES}
    with _servers(plan.directory) as servers:
        for number in range(plan.rounds):
            for case in CASES:
                helper_, port = servers[case.kind]
                found[case.name].append(_round(plan, case, helper_, port))
                plan.say(f"round {number + 1}: {case.name} {found[case.name][-1].per_s:,.0f}/s")
    alone = disk(plan.directory)
    return {
        "connections": CONNECTIONS,
        "disk": alone._asdict(),
        "cases": {name: _summary(rounds, found[PEER]) for name, rounds in found.items()},
    }


@contextmanager
def _servers(directory: Path) -> Iterator[dict[Kind, tuple[Helper, int]]]:
    kinds = dict.fromkeys(case.kind for case in CASES)
    with ExitStack() as stack:
        started = {
            kind: stack.enter_context(helper("tests.bench.gateway_servers", Task(kind, str(directory / "raw"))))
            for kind in kinds
        }
        yield {kind: (server, int(str(server.told()["port"]))) for kind, server in started.items()}
        for server in started.values():
            server.stop()


def _round(plan: Plan, case: Case, server: Helper, port: int) -> Round:
    load = Load(
        port=port,
        path=PATH,
        seconds=plan.seconds,
        warm_up_s=min(_WARM_UP_S, plan.seconds),
        bodies=_OWN_HEADS if case.own_heads else _BODIES,
        seed=1,
        own_heads=case.own_heads,
        connections=CONNECTIONS,
        watched=(server.pid,),
    )
    done = send(load)
    cpu_ms = done.cpu_s[str(server.pid)] * 1e6 / done.measured
    return Round(done.per_s, done.p50_ms, done.p99_ms, cpu_ms, done.others_share)


def _summary(rounds: list[Round], peer: list[Round]) -> Result:
    """Medians of the rounds; ratios are medians of each round's own ratio to the peer."""
    pairs = list(zip(rounds, peer, strict=True))
    return {
        **{name: median(getattr(one, name) for one in rounds) for name in Round._fields},
        "per_s_to_asgi": median(one.per_s / other.per_s for one, other in pairs),
        "per_cpu_s_to_asgi": median(other.cpu_ms_per_1000 / one.cpu_ms_per_1000 for one, other in pairs),
        "per_s_spread": spread(one.per_s for one in rounds),
    }
