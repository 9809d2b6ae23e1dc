"""Failures and tallies as a worker leaves them on their topics, the incidents sink on them, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from processors.classify import Classifier
from processors.incidents.rules import DEFAULT_RULES
from processors.incidents.step import IncidentStep
from schemas.kafka_outputs import Output
from schemas.records import Transition
from schemas.times import iso_ms
from schemas.topics import ALERTS, FAILURES, RAW, TALLIES
from sendtrace.alerts_publisher import alerts_publisher
from sendtrace.clock import SystemClock
from sinks.tables.incident_tables import IncidentTables, Step
from sinks.tables.kafka_incidents import IncidentsSink, Publisher
from tests.kafka.kafka_rig import create_topics

PARTITIONS: Final = 2
#: So long ago that all of it is over for the clock, and no more than a day.
HOURS_AGO_MS: Final = 3 * 3_600_000


def step() -> IncidentStep:
    """With the rules that hold unless somebody says otherwise, but none that waits for the clock."""
    rules = [rule for rule in DEFAULT_RULES if rule.kind != "silence"]
    return IncidentStep(rules, Classifier.load(None).catalogue)


def long_ago_ms() -> int:
    """The time of the first failure of a test."""
    return time.time_ns() // 1_000_000 - HOURS_AGO_MS


def failure(number: int, *, at_ms: int, campaign: str = "spring", reason: str = "Template error") -> Transition:
    """A message aborted because of its template."""
    return {
        "transition_id": f"m{number}-f",
        "kind": "status",
        "message_id": f"m{number}",
        "source": "braze",
        "provider": "braze",
        "channel": "email",
        "dispatch_id": f"d{number}",
        "external_send_id": None,
        "reference": None,
        "campaign_id": campaign,
        "from_status": None,
        "status": "aborted",
        "outcome": "failed",
        "provider_status": "aborted",
        "provider_time": None,
        "received_at": iso_ms(at_ms),
        "reason": reason,
        "bounce_class": "abort_template_error",
        "conflict": False,
        "receipt_id": f"r{number}",
        "version": 1,
    }


def storm(count: int, *, from_ms: int, campaigns: int = 1) -> list[Transition]:
    """So many, some milliseconds apart."""
    return [failure(number, at_ms=from_ms + 10 * number, campaign=f"c{number % campaigns}") for number in range(count)]


async def make_topics(address: str, prefix: str) -> None:
    """Those the role needs."""
    names = [prefix + topic.name for topic in (FAILURES, TALLIES, RAW, ALERTS)]
    await create_topics(address, *names, partitions=PARTITIONS)


async def put(address: str, prefix: str, failures: Iterable[Transition], *, abort: bool = False) -> None:
    """Onto the topic, in one transaction, as a worker does; or taken back."""
    producer = AIOKafkaProducer(bootstrap_servers=address, transactional_id=f"{prefix}rig", acks="all")
    await producer.start()
    try:
        await producer.begin_transaction()
        sent = [
            await producer.send(prefix + FAILURES.name, orjson.dumps(one), partition=_partition(one))
            for one in failures
        ]
        await asyncio.gather(*sent)
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()


def _partition(one: Transition) -> int:
    return crc32((one["campaign_id"] or "").encode()) % PARTITIONS


async def put_raw(address: str, topic: str, *values: bytes, at_ms: int | None = None) -> None:
    """Somebody else's records, onto partition 0, as of then."""
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0, timestamp_ms=at_ms)


async def handled(address: str, prefix: str, group: str, offset: int) -> None:
    """The workers have handled partition 0 of `raw` up to there."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, group_id=group, enable_auto_commit=False)
    await consumer.start()
    place = TopicPartition(prefix + RAW.name, 0)
    consumer.assign([place])
    await consumer.commit({place: OffsetAndMetadata(offset, "")})
    await consumer.stop()


class Alert(NamedTuple):
    """A record of topic `alerts`."""

    key: str
    ce_id: str
    change: str
    incident: dict[str, Any]


async def alerts(address: str, prefix: str) -> list[Alert]:
    """All there are, partition by partition in their order."""
    found = []
    async with AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        places = [TopicPartition(prefix + ALERTS.name, number) for number in range(PARTITIONS)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for one in records:
                    headers = dict(one.headers)
                    change = headers["ce_type"].decode().rpartition(".")[2]
                    incident = orjson.loads(one.value or b"")
                    found.append(Alert((one.key or b"").decode(), headers["ce_id"].decode(), change, incident))
    return found


class Recorded:
    """A way to a topic that keeps what it was given, and fails when told to, after the topic had it."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.fail_next = 0

    async def publish(self, outputs: Sequence[Output]) -> None:
        """See `Publisher`."""
        self.outputs += outputs
        if self.fail_next:
            self.fail_next -= 1
            raise TimeoutError


@asynccontextmanager
async def running(
    address: str,
    prefix: str,
    open_tables: Callable[[], IncidentTables],
    *,
    with_step: Step | None = None,
    publisher: Publisher | None = None,
) -> AsyncIterator[IncidentsSink]:
    """The sink in this process, until the block ends."""

    @asynccontextmanager
    async def given() -> AsyncIterator[Publisher]:
        assert publisher is not None
        yield publisher

    sink = IncidentsSink(
        brokers=tuple(address.split(",")),
        prefix=prefix,
        group=f"{prefix}processor",
        step=with_step or step(),
        open_tables=open_tables,
        open_publisher=given if publisher else lambda: alerts_publisher(address.split(","), prefix + ALERTS.name),
        clock=SystemClock(),
    )
    task = asyncio.get_running_loop().create_task(sink.run())
    try:
        yield sink
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
