"""Raw records on Kafka handled a second, and CPU seconds for them: `sendtrace worker`, one process, beside its peers.

`plain` is the shortest aiokafka loop around the same core, without transactions or recovery; `faust` an ordinary Faust
agent around it, with fewer records; `quix`, if asked for, a quixstreams dataframe around it. Each has all its records
before it starts, and is measured between a sixth and nine tenths of them: start, recovery and the end, where some
partitions have nothing left, do not count. What each wrote must be, committed, one transition for every postback that
was no repeat.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final, NamedTuple

from schemas.topics import RAW, TRANSITIONS
from tests.bench import machine
from tests.bench.contenders import FAUST, PLAIN, QUIX, WORKER, Contender, Place
from tests.bench.kafka_side import (
    PARTITIONS,
    Asked,
    Kafka,
    Record,
    asking,
    committed_records,
    fill,
    make_topics,
    postbacks_of,
    private_kafka,
    raw_records,
)
from tests.bench.machine import Usage
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.postbacks import traffic
from tests.bench.processes import BenchError

_RECORDS: Final = 150_000
_FAUST_SHARE: Final = 0.1
_QUIX_SHARE: Final = 0.4
_FROM, _TO = 0.15, 0.9
_LOOK_S: Final = 0.05
_MOST_S: Final = 600.0


class Input(NamedTuple):
    """Raw records by partition, how many they are, and how many of them are no repeats."""

    lanes: list[list[Record]]
    records: int
    distinct: int


class Sample(NamedTuple):
    """How far a contender was at a moment."""

    at_s: float
    handled: int
    used: Usage


class Round(NamedTuple):
    """One contender's steady part. CPU seconds are for 100,000 events."""

    events_per_s: float
    cpu_s: float
    broker_cpu_s: float
    resident_bytes: float
    others_share: float


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    with private_kafka(plan.directory) as kafka:
        return asyncio.run(_run(plan, kafka))


async def _run(plan: Plan, kafka: Kafka) -> Result:
    full = _input(round(_RECORDS * plan.scale))
    inputs = {WORKER: full, PLAIN: full, FAUST: _input(round(_RECORDS * _FAUST_SHARE * plan.scale))}
    if plan.peers:
        inputs[QUIX] = _input(round(_RECORDS * _QUIX_SHARE * plan.scale))
    found: dict[str, list[Round]] = {contender.name: [] for contender in inputs}
    async with asking(kafka.address) as asked:
        for number in range(plan.rounds):
            for contender, given in inputs.items():
                place = Place(kafka, f"{contender.name}-{number}.", plan.directory / f"{contender.name}-{number}")
                found[contender.name].append(await _round(contender, given, place, asked))
                plan.say(f"round {number + 1}: {contender.name} {found[contender.name][-1].events_per_s:,.0f}/s")
    return {
        "records": full.records,
        "partitions": PARTITIONS,
        "contenders": {name: _summary(rounds) for name, rounds in found.items()},
        **{f"to_{name}": _ratios(found[WORKER.name], rounds) for name, rounds in found.items() if name != WORKER.name},
    }


def _input(count: int) -> Input:
    bodies = traffic(count, seed=1)
    return Input(raw_records(postbacks_of(bodies)), count, len(set(bodies)))


async def _round(contender: Contender, given: Input, place: Place, asked: Asked) -> Round:
    address, prefix = place.kafka.address, place.prefix
    place.directory.mkdir()
    await make_topics(address, prefix)
    await fill(address, prefix + RAW.name, given.lanes)
    async with contender.started(place) as pids:
        samples, resident = await _watch(contender, given.records, place, asked, pids)
    written = await committed_records(address, prefix + TRANSITIONS.name)
    if written != given.distinct:
        raise BenchError(f"{contender.name} wrote {written} transitions, expected {given.distinct}")
    await asked.forget(prefix)
    return _steady(samples, given.records, place.kafka.pid, pids, resident)


async def _watch(
    contender: Contender, count: int, place: Place, asked: Asked, pids: tuple[int, ...]
) -> tuple[list[Sample], int]:
    """How it went, until all is handled, and how much memory its processes have then."""
    watched = (*pids, place.kafka.pid, os.getpid())
    samples: list[Sample] = []
    began_s = time.perf_counter()
    while not samples or samples[-1].handled < count:
        handled = await contender.handled(asked, place.prefix)
        samples.append(Sample(time.perf_counter(), handled, machine.usage(watched)))
        if samples[-1].at_s - began_s > _MOST_S:
            raise BenchError(f"{contender.name} handled {handled} of {count} records within {_MOST_S:.0f} s")
        await asyncio.sleep(_LOOK_S)
    return samples, sum(map(machine.resident_bytes, pids))


def _steady(samples: list[Sample], count: int, broker: int, pids: tuple[int, ...], resident: int) -> Round:
    begin = [sample for sample in samples if sample.handled <= _FROM * count][-1]
    end = next(sample for sample in samples if sample.handled >= _TO * count)
    events, used = end.handled - begin.handled, end.used.since(begin.used)
    return Round(
        events_per_s=events / (end.at_s - begin.at_s),
        cpu_s=sum(used.of[pid] for pid in pids) * 1e5 / events,
        broker_cpu_s=used.of[broker] * 1e5 / events,
        resident_bytes=resident,
        others_share=used.others_share,
    )


def _summary(rounds: list[Round]) -> Result:
    return {
        **{name: median(getattr(one, name) for one in rounds) for name in Round._fields},
        "events_per_s_spread": spread(one.events_per_s for one in rounds),
    }


def _ratios(ours: list[Round], theirs: list[Round]) -> Result:
    """Medians of each round's own ratio."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "events_per_s": median(one.events_per_s / other.events_per_s for one, other in pairs),
        "events_per_cpu_s": median(other.cpu_s / one.cpu_s for one, other in pairs),
        "events_per_cpu_s_with_broker": median(
            (other.cpu_s + other.broker_cpu_s) / (one.cpu_s + one.broker_cpu_s) for one, other in pairs
        ),
    }
