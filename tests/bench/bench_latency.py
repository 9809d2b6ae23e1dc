"""From a raw record acknowledged to its transition in a committed reader's hands, at 2,000 a second on six partitions.

`sendtrace worker` beside the plain loop, which commits nothing but offsets: the difference is what exactly once costs.
And the whole way through `sendtrace gateway`, from when a request was due.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, NamedTuple, cast

from tests.bench import machine
from tests.bench.contenders import PLAIN, WORKER, Place, gateway
from tests.bench.kafka_side import PARTITIONS, Kafka, make_topics, private_kafka
from tests.bench.machine import percentile
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.processes import helper
from tests.bench.transition_probe import TransitionProbing

_PER_S: Final = 2_000
_WARM_UP_S: Final = 2.0
_WARM_UP_MOST: Final = 0.5


class Round(NamedTuple):
    """One load. CPU seconds are for 100,000 postbacks, the broker's and those of who sends and reads apart."""

    visible_ms: list[float]
    cpu_s: float
    broker_cpu_s: float
    probe_cpu_s: float
    others_share: float


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    with private_kafka(plan.directory) as kafka:
        return asyncio.run(_run(plan, kafka))


async def _run(plan: Plan, kafka: Kafka) -> Result:
    found: dict[str, list[Round]] = {"worker": [], "post": [], "plain": []}
    for number in range(plan.rounds):
        for contender in (WORKER, PLAIN):
            place = Place(kafka, f"{contender.name}-{number}.", plan.directory / f"{contender.name}-{number}")
            place.directory.mkdir()
            await make_topics(kafka.address, place.prefix)
            async with contender.started(place) as pids:
                found[contender.name].append(await _probed(plan, place, pids))
                if contender is WORKER:
                    async with gateway(place) as server:
                        found["post"].append(await _probed(plan, place, pids, port=server.port, path=server.path))
        told = ", ".join(f"{name} {percentile(rounds[-1].visible_ms, 50):.1f} ms" for name, rounds in found.items())
        plan.say(f"round {number + 1}: {told}")
    return {
        "per_s": round(_PER_S * plan.scale),
        "partitions": PARTITIONS,
        **{name: _summary(rounds) for name, rounds in found.items()},
        "to_plain": {
            f"visible_p{percent}_ms": median(
                percentile(ours.visible_ms, percent) / percentile(theirs.visible_ms, percent)
                for ours, theirs in zip(found["worker"], found["plain"], strict=True)
            )
            for percent in (50, 99)
        },
    }


async def _probed(plan: Plan, place: Place, pids: tuple[int, ...], *, port: int = 0, path: str = "") -> Round:
    probing = TransitionProbing(
        address=place.kafka.address,
        prefix=place.prefix,
        per_s=round(_PER_S * plan.scale),
        warm_up_s=min(_WARM_UP_S, _WARM_UP_MOST * plan.seconds),
        seconds=plan.seconds,
        seed=1 + bool(port),
        port=port,
        path=path,
    )
    with helper("tests.bench.transition_probe", probing) as probe:
        await asyncio.to_thread(probe.told)
        watched = (*pids, place.kafka.pid, probe.pid, os.getpid())
        before = machine.usage(watched)
        probe.go()
        told = await asyncio.to_thread(probe.told)
        used = machine.usage(watched).since(before)
    tenths = cast("dict[str, int]", told["tenths"])
    visible_ms = [int(tenth) / 10 for tenth, count in tenths.items() for _ in range(count)]
    sent = probing.per_s * (probing.warm_up_s + probing.seconds)
    return Round(
        visible_ms,
        cpu_s=sum(used.of[pid] for pid in pids) * 1e5 / sent,
        broker_cpu_s=used.of[place.kafka.pid] * 1e5 / sent,
        probe_cpu_s=used.of[probe.pid] * 1e5 / sent,
        others_share=used.others_share,
    )


def _summary(rounds: list[Round]) -> Result:
    """Postbacks of all rounds together; medians of the rest."""
    visible_ms = [taken for one in rounds for taken in one.visible_ms]
    return {
        "postbacks": len(visible_ms),
        "visible_p50_ms": median([percentile(visible_ms, 50)]),
        "visible_p99_ms": median([percentile(visible_ms, 99)]),
        "visible_max_ms": median([max(visible_ms)]),
        "visible_p99_ms_spread": spread(percentile(one.visible_ms, 99) for one in rounds),
        **{name: median(getattr(one, name) for one in rounds) for name in Round._fields if name != "visible_ms"},
    }
