"""`sendtrace gateway` and its broker under `kill -9`: every 200 is on the raw topic, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event
from schemas.identity import fact_id, message_id, message_key
from schemas.topics import DEFAULT_PREFIX
from tests.e2e.up_rig import request
from tests.faults.kill_rig import Evenly, Known, Ledger, Sendtrace, under_load
from tests.faults.test_kafka_log import Found, read
from tests.kafka.kafka_rig import create_topics
from tests.kafka.local_kafka import LocalKafka

OUTAGE_S = int(os.environ.get("SENDTRACE_OUTAGE_S", "60"))
KILLS = int(os.environ.get("SENDTRACE_GATEWAY_KILLS", "6"))
SEED = int(os.environ.get("SENDTRACE_SEED", time.time_ns() % 1_000_000))
TOPIC = f"{DEFAULT_PREFIX}raw"
NORMALIZE = Normalizer(Classifier.load(None))


@pytest.mark.timeout(90 + 15 * KILLS)
async def test_every_200_is_on_the_topic_whatever_was_killed(private_kafka: LocalKafka, tmp_path: Path) -> None:
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when it fails, to run the same plan again)
    await create_topics(private_kafka.address, TOPIC, partitions=3)
    gateway = Sendtrace(tmp_path, role="gateway", settings={"SENDTRACE_KAFKA": private_kafka.address})
    await gateway.start()

    async with under_load(gateway, SEED, senders=8) as ledger:
        await kill_often(gateway, private_kafka, random.Random(SEED))
    await spool_is_empty(gateway)
    assert await gateway.stop() == 0

    check(await read(private_kafka.address, TOPIC), ledger)


@pytest.mark.timeout(60 + 4 * OUTAGE_S)
async def test_a_broker_that_is_down_for_a_minute_costs_no_answer_at_500_a_second(
    private_kafka: LocalKafka, tmp_path: Path
) -> None:
    await create_topics(private_kafka.address, TOPIC, partitions=3)
    gateway = Sendtrace(tmp_path, role="gateway", settings={"SENDTRACE_KAFKA": private_kafka.address})
    await gateway.start()
    async with under_load(gateway, SEED, senders=16, may_send=Evenly(500)) as ledger:
        await asyncio.sleep(2)
        private_kafka.kill()
        await asyncio.sleep(OUTAGE_S)
        during = ledger.kept.total()
        await asyncio.to_thread(private_kafka.start)
        await asyncio.sleep(2)
    await spool_is_empty(gateway)
    assert await gateway.stop() == 0

    assert (ledger.unsure.total(), ledger.refused) == (0, {})
    assert during > 500 * OUTAGE_S * 0.7  # the machine may be busy; the gateway may not be
    check(await read(private_kafka.address, TOPIC, within_s=60), ledger)


async def kill_often(gateway: Sendtrace, broker: LocalKafka, rng: random.Random) -> None:
    """The gateway, the broker, and the gateway while the broker is away, in turn."""
    for number in range(KILLS):
        await asyncio.sleep(rng.uniform(0.2, 1.2))
        if number % 3 == 0:
            await gateway.kill_all()
            await gateway.start()
        elif number % 3 == 1:
            broker.kill()
        else:
            await gateway.kill_all()
            await gateway.start()
            await asyncio.sleep(rng.uniform(0.0, 0.5))
            await asyncio.to_thread(broker.start)
    if not broker.runs():
        await asyncio.to_thread(broker.start)


async def spool_is_empty(gateway: Sendtrace) -> None:
    async with asyncio.timeout(30):
        while True:
            code, body = await asyncio.to_thread(request, gateway.admin, "GET", "/readyz")
            state = json.loads(body)
            if code == 200 and state["kafka"]["can_keep"] and not state["spool"]["waiting_bytes"]:
                return
            await asyncio.sleep(0.1)


def check(found: list[Found], ledger: Ledger) -> None:
    there = set()
    for key, _, postback in found:
        event = NORMALIZE(postback)
        assert isinstance(event, Event)
        assert key == message_key("braze", event.dispatch_id, event.external_send_id)
        there.add(known(event))
    assert len(ledger.kept) > 300, "too little load to prove anything"
    assert ledger.refused == {}
    assert set(ledger.kept) - there == set(), "answered 200 and lost"
    assert there - set(ledger.kept) - set(ledger.unsure) == set(), "never sent"


def known(event: Event) -> Known:
    fact = fact_id(event.status, event.provider_status, event.provider_time, event.reason)
    return message_id("braze", event.dispatch_id, event.external_send_id), fact
