"""The whole pipeline on Kafka and Postgres while each of its parts is killed: gateway, workers, sink, broker, Postgres.

`make chaos POSTBACKS=1000000 KILLS=100` runs it at any size; `tests/faults/test_chaos.py` runs it small. What the
senders were told is held against the tables and the topics with a small model of the lifecycle, written here
from design §5 and sharing no code with the product's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from schemas.statuses import FAILURE_WORDS
from schemas.topics import DEFAULT_PREFIX, FAILURES, TALLIES, TRANSITIONS
from tests.faults.kill_rig import Ledger, Sendtrace, sender, traffic
from tests.faults.worker_rig import Worker, read_all, topics
from tests.kafka.local_kafka import LocalKafka
from tests.postgres.local_postgres import LocalPostgres

PARTITIONS: Final = 4
_SENDERS: Final = 16
_STUCK_S: Final = 180.0
#: Design §5, by rank: what the model needs of the status words of the traffic.
_RANKS: Final = {"sent": 1, "processed": 2, "delivered": 4, "bounced": 5}


class Plan(NamedTuple):
    """How much, how often, and the seed of both."""

    postbacks: int
    kills: int
    seed: int


class Report(NamedTuple):
    """What was done to it, for the person who asked."""

    answered: int
    unsure: int
    kills: Counter[str]
    seconds: float


@dataclass
class Pipeline:
    """Everything that runs."""

    broker: LocalKafka
    postgres: LocalPostgres
    gateway: Sendtrace
    workers: list[Worker]
    sink: Worker

    async def kill(self, what: str, rng: random.Random) -> None:
        """SIGKILL, and start it again: at once, or a moment later."""
        pause_s = rng.uniform(0.0, 2.0)
        match what:
            case "gateway":
                await self.gateway.kill_all()
                await self.gateway.start()
            case "worker":
                worker = rng.choice(self.workers)
                await worker.kill()
                await asyncio.sleep(pause_s)
                await worker.start(wait=False)
            case "worker process":
                rng.choice(self.workers).send_to_processes(signal.SIGKILL)
            case "sink":
                await self.sink.kill()
                await asyncio.sleep(pause_s)
                await self.sink.start(wait=False)
            case "broker":
                self.broker.kill()
                await asyncio.sleep(pause_s)
                await asyncio.to_thread(self.broker.start)
            case "postgres":
                await asyncio.to_thread(self.postgres.kill)
                await asyncio.sleep(pause_s)
                await asyncio.to_thread(self.postgres.start)


VICTIMS: Final = ("gateway", "worker", "worker process", "sink", "broker", "postgres")


async def run(plan: Plan, directory: Path, *, say: Callable[[str], None]) -> Report:
    """Raises `AssertionError` with what does not agree."""
    started = time.monotonic()
    rng, kills = random.Random(plan.seed), Counter[str]()
    async with pipeline(directory) as running:
        ledger, allowed = Ledger(), asyncio.Event()
        sending = asyncio.ensure_future(_send(running.gateway, plan, ledger, kills, allowed, say))
        for number in range(plan.kills):
            while not allowed.is_set() or _sent(ledger) < _due(plan, number):  # noqa: ASYNC110  nobody tells us
                await asyncio.sleep(0.02)
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            what = VICTIMS[number % len(VICTIMS)]
            say(f"kill {number + 1} of {plan.kills}: {what}")
            await running.kill(what, rng)
            kills[what] += 1
        await sending
        say("all sent; waiting until everything is in the tables")
        await caught_up(running)
        await check(running, ledger)
    return Report(sum(ledger.kept.values()), sum(ledger.unsure.values()), kills, time.monotonic() - started)


@asynccontextmanager
async def pipeline(directory: Path) -> AsyncIterator[Pipeline]:
    """All parts started; all of them gone afterwards."""
    broker, postgres = LocalKafka.create(directory / "kafka"), LocalPostgres.create()
    async with AsyncExitStack() as stack:
        stack.callback(postgres.remove)
        await asyncio.to_thread(postgres.start)
        stack.callback(broker.kill)
        await asyncio.to_thread(broker.start)
        await topics(broker.address, DEFAULT_PREFIX, partitions=PARTITIONS)
        settings = {"SENDTRACE_KAFKA": broker.address, "SENDTRACE_TABLES__POSTGRES": postgres.url}
        (directory / "gateway").mkdir()
        gateway = Sendtrace(directory / "gateway", role="gateway", settings=settings)
        workers = [
            Worker(broker.address, DEFAULT_PREFIX, directory / f"worker-{number}", settings=settings)
            for number in range(2)
        ]
        sink = Worker(broker.address, DEFAULT_PREFIX, directory / "sink", role=("sink", "tables"), settings=settings)
        for each in (*workers, sink):
            stack.push_async_callback(each.kill)
        await asyncio.gather(*(each.start() for each in (*workers, sink)))
        await gateway.start()
        stack.push_async_callback(gateway.kill_all)
        yield Pipeline(broker, postgres, gateway, workers, sink)


def _due(plan: Plan, kills: int) -> int:
    """How many are to be answered before the next kill: so that there is load at every one of them."""
    return plan.postbacks * kills // (plan.kills + 1)


async def _send(
    gateway: Sendtrace,
    plan: Plan,
    ledger: Ledger,
    kills: Counter[str],
    allowed: asyncio.Event,
    say: Callable[[str], None],
) -> None:
    """From many senders, until so many have been answered 200; they wait for the kills."""
    stop = asyncio.Event()
    streams = [traffic(random.Random(f"{plan.seed}-{number}")) for number in range(_SENDERS)]
    senders = [
        asyncio.ensure_future(sender(gateway.port, gateway.path, each, ledger, stop, may_send=allowed))
        for each in streams
    ]
    tenth = max(1, plan.postbacks // 10)
    told = 0
    while _sent(ledger) < plan.postbacks and not all(each.done() for each in senders):
        if _sent(ledger) < _due(plan, kills.total() + 2):
            allowed.set()
        else:
            allowed.clear()
        await asyncio.sleep(0.02)
        if _sent(ledger) // tenth > told:
            told = _sent(ledger) // tenth
            say(f"{_sent(ledger)} of {plan.postbacks} postbacks answered 200")
    stop.set()
    allowed.set()
    await asyncio.gather(*senders)


def _sent(ledger: Ledger) -> int:
    return sum(ledger.kept.values())


async def caught_up(running: Pipeline) -> None:
    """Every raw record is in the tables: what the spool had, what the workers and the sink were behind."""
    found, before, progressed = None, None, time.monotonic()
    while time.monotonic() - progressed < _STUCK_S:
        found = await running.sink.audit()
        if found is not None and found["pending"] == 0 and await _spool_is_empty(running.gateway):
            return
        if found is not None and found != before:
            before, progressed = found, time.monotonic()
        await asyncio.sleep(0.5)
    said = "\n".join(each.said[-3_000:] for each in (*running.workers, running.sink))
    raise AssertionError(f"nothing more was handled for {_STUCK_S:.0f} s: {found}\n{said}")


async def _spool_is_empty(gateway: Sendtrace) -> bool:
    state = await gateway.state()
    return not state["spool"]["waiting_bytes"]


async def check(running: Pipeline, ledger: Ledger) -> None:
    """Hold the tables and the topics to what the senders were told."""
    assert not ledger.refused
    with psycopg.connect(running.postgres.url) as db:
        facts = db.execute("SELECT message_id, fact_id, status, provider_time, duplicates FROM facts").fetchall()
        states: dict[str, str] = dict(db.execute("SELECT message_id, status FROM messages").fetchall())
        transitions = Counter(row[0] for row in db.execute("SELECT transition_id FROM transitions"))
        receipts = Counter(row[0] for row in db.execute("SELECT receipt_id FROM postbacks"))
    there = {(message, fact) for message, fact, *_ in facts}
    told = set(ledger.kept) | set(ledger.unsure)
    assert set(ledger.kept) <= there, "answered 200 and not in the tables"
    assert there <= told, "in the tables and never sent"
    assert len(there) == len(facts)
    assert transitions == Counter(f"{message}-{fact}" for message, fact in there)
    assert set(receipts.values()) <= {1}
    assert states == _model(facts)
    audit = await running.sink.audit()
    assert audit is not None
    assert audit["balanced"]
    assert audit["accepted"] == receipts.total() >= _sent(ledger)
    published = await read_all(running.broker.address, f"{DEFAULT_PREFIX}{TRANSITIONS.name}")
    ids = Counter(dict(one.headers)["ce_id"].decode() for records in published.values() for one in records)
    assert ids == transitions
    await _check_streams(running.broker.address, states, receipts.total())


async def _check_streams(address: str, states: dict[str, str], postbacks: int) -> None:
    """A failure for each message that failed, once; tallies that add up to what was handled."""
    failures = await read_all(address, f"{DEFAULT_PREFIX}{FAILURES.name}")
    failed = Counter(json.loads(one.value or b"")["message_id"] for each in failures.values() for one in each)
    assert failed == Counter(message for message, status in states.items() if status in FAILURE_WORDS)
    counted, came = 0, Counter[str]()
    for records in (await read_all(address, f"{DEFAULT_PREFIX}{TALLIES.name}")).values():
        for tally in (json.loads(one.value or b"") for one in records):
            counted += tally["postbacks"]
            came.update(tally["counts"])
    assert counted >= postbacks  # a body the gateway sent again is counted again, as a repeat
    assert came["bounced"] == failed.total()


def _model(facts: list[tuple[str, str, str, str | None, int]]) -> dict[str, str]:
    """Design §5: the highest rank decides. Statuses of one rank do not meet in this traffic."""
    best: dict[str, str] = {}
    for message, _, status, *_ in facts:
        if message not in best or _RANKS[status] > _RANKS[best[message]]:
            best[message] = status
    return best


def main() -> None:
    """`make chaos`: prints what is killed, and at the end what agreed."""
    parser = argparse.ArgumentParser(description="Kill every part of the pipeline while postbacks come in.")
    parser.add_argument("--postbacks", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    asked = parser.parse_args()
    plan = Plan(asked.postbacks, asked.kills, asked.seed)
    print(f"chaos: {plan.postbacks} postbacks, {plan.kills} kills, --seed {plan.seed}", flush=True)  # noqa: T201  its output
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(run(plan, Path(directory), say=lambda text: print(text, flush=True)))  # noqa: T201  as above
    print(  # noqa: T201  as above
        f"chaos: all agreed: {report.answered} answered 200, {report.unsure} without a sure answer,"
        f" {sum(report.kills.values())} kills ({json.dumps(dict(report.kills))}), {report.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
