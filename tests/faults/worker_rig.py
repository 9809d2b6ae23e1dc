"""`sendtrace worker` under any signal, the raw topic fed as the gateway feeds it, and the account of what came out.

Everything is real: the command, Kafka, SIGKILL and SIGSTOP. What must have come out is what one
undisturbed fold of the raw topic gives, record by record.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple, cast

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord

from ingest.kafka_log import KafkaLimits, KafkaLog
from processors.classify import Classifier
from processors.faust_shell.raw_records import log_record_of
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.kafka_outputs import ReceiptsRecord, state_of, transition_of
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from schemas.records import Audit, StatusRecord, Transition
from schemas.topics import BY_MESSAGE, DEAD, IN_USE, RAW, RECEIPTS, STATUS, TRANSITIONS
from sendtrace.init_config import write_initial
from tests.e2e.up_rig import request
from tests.kafka.kafka_rig import create_topics

_READY_S: Final = 60.0
_START_MS: Final = 1_795_248_000_000
_STATUSES: Final = ("sent", "processed", "delivered", "bounced")
NORMALIZE: Final = Normalizer(Classifier.load(None))
KEY_OF: Final = KeyFinder(NORMALIZE)

Record = ConsumerRecord[bytes, bytes]


class Worker:
    """`sendtrace worker`, or another role, on a data directory, started again and again.

    `settings` are `SENDTRACE_…` variables. Leave nothing running: `kill`.
    """

    def __init__(
        self,
        address: str,
        prefix: str,
        data: Path,
        *,
        processes: int = 1,
        program: Sequence[str] = ("-m", "sendtrace"),
        role: Sequence[str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        config = data / "sendtrace.toml"
        if not config.exists():
            write_initial(config)
        self._config = config
        self._program = program
        self._role = role or ("worker", "--processes", str(processes))
        self._settings = {
            "SENDTRACE_KAFKA": address,
            "SENDTRACE_KAFKA__TOPIC_PREFIX": prefix,
            **(settings or {}),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._ended = False
        self.admin = ""
        self.said = ""

    async def start(self, *, wait: bool = True) -> None:
        """Start it and wait until it has its partitions."""
        self._ready.clear()
        self._ended = False
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program, *self._role, "--admin-port", "0", *self._places()),
            env={**os.environ, **self._settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reading = asyncio.ensure_future(self._read(self._process))
        if wait:
            await self.until_ready()

    async def until_ready(self, within_s: float = _READY_S) -> None:
        """It has said that it is."""
        try:
            await asyncio.wait_for(self._ready.wait(), within_s)
        except TimeoutError:
            raise AssertionError(f"not ready within {within_s:g} s:\n{self.said}") from None
        assert not self._ended, f"it ended instead:\n{self.said}"

    async def kill(self) -> None:
        """SIGKILL to parent and processes at once."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """To the parent and all its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def send_to_processes(self, number: signal.Signals) -> None:
        """To the processes that do the work."""
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def children(self) -> list[int]:
        """Their process ids."""
        if self._process is None:
            return []
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            return [int(pid) for pid in path.read_text(encoding="ascii").split()]
        except FileNotFoundError:
            return []

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.terminate()
        code = await asyncio.wait_for(self._process.wait(), 15)
        if self._reading is not None:
            await self._reading
        return code

    async def state(self) -> dict[str, object]:
        """What /readyz says."""
        _, body = await asyncio.to_thread(request, self.admin, "GET", "/readyz")
        return cast("dict[str, object]", json.loads(body))

    async def audit(self) -> Audit | None:
        """What `sendtrace audit` says of these settings; `None` when it cannot ask."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program, "audit", "--json", *self._places()),
            env={**os.environ, **self._settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
        return cast(Audit, orjson.loads(out)) if out else None

    def _places(self) -> list[str]:
        return ["--config", str(self._config), "--data", str(self.data)]

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.said += line.decode()
            if line.startswith(b"ready "):
                self.admin = line.decode().split()[1].removeprefix("http://")
                self._ready.set()
        self._ended = True
        self._ready.set()


def postbacks(count: int, rng: random.Random, *, garbage: int | None = None) -> list[Postback]:
    """Braze postbacks out of order, a tenth of them twice, and some that are not understood."""
    messages = -(-count * 10 // (11 * len(_STATUSES)))
    bodies = [_body(number, status, rng) for number in range(messages) for status in _STATUSES]
    bodies += rng.sample(bodies, k=len(bodies) // 10)
    bodies += [b'{"odd": %d' % number for number in range(count // 500 if garbage is None else garbage)]
    rng.shuffle(bodies)
    receipt_ids = ReceiptIds()
    return [
        Postback(
            "braze",
            "braze",
            KIND_POSTBACK,
            receipt_ids.next(_START_MS + number),
            _START_MS + number,
            "application/json",
            "",
            body,
        )
        for number, body in enumerate(bodies)
    ]


def _body(number: int, status: str, rng: random.Random) -> bytes:
    metadata = {f"{status}_at": f"2026-11-21T10:{rng.randrange(60):02d}:00.000Z", "external_send_id": f"order-{number}"}
    if status == "bounced":
        metadata["reason"] = rng.choice(["550 5.1.1 no such user", "552 5.2.2 mailbox full"])
    return orjson.dumps({"dispatch_id": f"d{number}", "status": status, "metadata": metadata})


async def topics(address: str, prefix: str, *, partitions: int, others: int = 1) -> None:
    """All that are in use: `partitions` each of those keyed by message, `others` each of the others."""
    plain = [topic for topic in IN_USE if topic is not STATUS]
    for count, chosen in (
        (partitions, [topic for topic in plain if topic in BY_MESSAGE]),
        (others, [topic for topic in plain if topic not in BY_MESSAGE]),
    ):
        await create_topics(address, *(f"{prefix}{topic.name}" for topic in chosen), partitions=count)
    await create_topics(
        address, f"{prefix}{STATUS.name}", partitions=partitions, settings={"cleanup.policy": "compact"}
    )


class _Kept:
    def __init__(self, total: int) -> None:
        self.left = total
        self.done = asyncio.Event()

    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        assert kept
        self.left -= 1
        if not self.left:
            self.done.set()


async def feed(address: str, prefix: str, sent: Sequence[Postback], *, per_s: float | None = None) -> None:
    """Onto the raw topic, as the gateway does; returns once all are acknowledged."""
    limits = KafkaLimits(request_timeout_s=30.0)
    log = KafkaLog(brokers=address.split(","), topic=f"{prefix}{RAW.name}", key_of=KEY_OF, limits=limits)
    log.start()
    waiter = _Kept(len(sent))
    try:
        while not log.can_keep():  # noqa: ASYNC110  nobody tells us when it can
            await asyncio.sleep(0.02)
        for number, postback in enumerate(sent):
            log.append(postback, waiter)
            if number % 100 == 99:
                await asyncio.sleep(100 / per_s if per_s else 0)
        await asyncio.wait_for(waiter.done.wait(), 60)
    finally:
        await log.close()


async def read_all(address: str, topic: str) -> dict[int, list[Record]]:
    """Every committed record of a topic, by partition."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        request_timeout_ms=10_000,
    )
    async with AsyncExitStack() as stack:
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        places = sorted(consumer.assignment())
        found: dict[int, list[Record]] = {place.partition: [] for place in places}
        ends = await consumer.end_offsets(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for place, records in (await consumer.getmany(timeout_ms=100)).items():
                found[place.partition] += records
    return found


class Outcome(NamedTuple):
    """Everything on the topics, read committed."""

    raw: dict[int, list[Record]]
    transitions: dict[int, list[Record]]
    status: dict[int, list[Record]]
    receipts: dict[int, list[Record]]
    dead: dict[int, list[Record]]

    def handled(self) -> int:
        """Raw records that have their receipts."""
        return sum(len(_receipts(record)["receipts"]) for records in self.receipts.values() for record in records)


def _receipts(record: Record) -> ReceiptsRecord:
    return cast(ReceiptsRecord, orjson.loads(record.value or b""))


async def outcome(address: str, prefix: str) -> Outcome:
    """What there is now."""
    topics_read = [
        await read_all(address, f"{prefix}{topic.name}") for topic in (RAW, TRANSITIONS, STATUS, RECEIPTS, DEAD)
    ]
    return Outcome(*topics_read)


async def all_handled(address: str, prefix: str, *, count: int, within_s: float = 90) -> Outcome:
    """As soon as so many raw records are; then everything."""
    async with asyncio.timeout(within_s):
        while True:
            receipts = await read_all(address, f"{prefix}{RECEIPTS.name}")
            handled = sum(len(_receipts(record)["receipts"]) for records in receipts.values() for record in records)
            if handled >= count:
                return await outcome(address, prefix)
            await asyncio.sleep(0.2)


class Empty:
    """A `StateStore` without anything in it."""

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """Nothing was there before, and what came since is in the processor's own memory."""
        del message_ids
        return {}


class Expected(NamedTuple):
    """What one undisturbed fold of a partition gives."""

    transitions: list[Transition]
    states: dict[str, StatusRecord]
    dead: list[int]


def expected(raw: Sequence[Record], *, refused: frozenset[bytes] = frozenset()) -> Expected:
    """`refused` are bodies that cannot be processed."""
    processor = PartitionProcessor(normalize=NORMALIZE, store=Empty(), cached_messages=10_000_000)
    told = Expected([], {}, [])
    for record in raw:
        if record.value in refused:
            told.dead.append(record.offset)
            continue
        batch = processor.handle([log_record_of(record)])
        told.transitions.extend(batch.transitions)
        told.states.update(batch.states)
        told.dead.extend(dead.record.position for dead in batch.dead)
    return told


def check(found: Outcome, *, refused: frozenset[bytes] = frozenset()) -> None:
    """Each raw record has done what it must, once, and nothing else was done."""
    for partition, raw in found.raw.items():
        told = expected(raw, refused=refused)
        entries = [entry for record in found.receipts[partition] for entry in _receipts(record)["receipts"]]
        assert [entry["raw_offset"] for entry in entries] == [record.offset for record in raw]
        assert [transition_of(record.value or b"") for record in found.transitions[partition]] == told.transitions
        last = {(record.key or b"").decode(): record.value for record in found.status[partition]}
        assert {key: state_of(value or b"") for key, value in last.items()} == told.states
        dead = [record for records in found.dead.values() for record in records]
        of_it = sorted(int(dict(one.headers)["raw_offset"]) for one in dead if _partition_of(one) == partition)
        assert of_it == told.dead


def _partition_of(dead: Record) -> int:
    return int(dict(dead.headers)["raw_partition"])
