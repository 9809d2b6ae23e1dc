"""Postgres stopped for a minute under load, then killed: nothing is lost, nothing is there twice, incidents add up."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psycopg
import pytest

from schemas.topics import DEFAULT_PREFIX
from tests.faults.chaos import caught_up, check, pipeline
from tests.faults.kill_rig import Evenly, under_load
from tests.faults.worker_rig import Worker
from tests.kafka.kafka_jars import KafkaError, jars, java
from tests.kafka.kafka_rig import give_up

AWAY_S = int(os.environ.get("SENDTRACE_OUTAGE_S", "60"))
SEED = int(os.environ.get("SENDTRACE_SEED", time.time_ns() % 1_000_000))
_SETTLED_S = 60.0


@pytest.mark.timeout(240 + 2 * AWAY_S)
async def test_postgres_may_be_stopped_for_a_minute_and_killed(tmp_path: Path) -> None:
    try:
        java()
        jars()
    except KafkaError as error:
        give_up(str(error))
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when it fails, to run the same plan again)
    async with pipeline(tmp_path) as running:
        settings = {"SENDTRACE_TABLES__POSTGRES": running.postgres.url}
        role = ("sink", "incidents")
        incidents = Worker(running.broker.address, DEFAULT_PREFIX, tmp_path / "incidents", role=role, settings=settings)
        await incidents.start()
        try:
            async with under_load(running.gateway, SEED, senders=8, may_send=Evenly(200)) as ledger:
                await asyncio.sleep(3)
                await asyncio.to_thread(running.postgres.stop)
                await asyncio.sleep(AWAY_S)
                await asyncio.to_thread(running.postgres.start)
                await asyncio.sleep(3)
                running.postgres.kill()  # while what has waited is being written
                await asyncio.to_thread(running.postgres.start)
            await caught_up(running)
            await check(running, ledger)
            await _incident_of_all(running.postgres.url)
        finally:
            await incidents.kill()
    assert not ledger.unsure
    assert ledger.kept.total() > 200 * AWAY_S * 0.7


async def _incident_of_all(url: str) -> None:
    """A quarter of the traffic bounces, all of one campaign: one incident, which counts every one of them."""
    give_up_s = time.monotonic() + _SETTLED_S
    while True:
        with psycopg.connect(url) as db:
            counted = db.execute("SELECT rule, count FROM incidents").fetchall()
            bounced = db.execute("SELECT count(*) FROM messages WHERE status = 'bounced'").fetchall()
        if counted == [("bounce_rate", bounced[0][0])]:
            return
        assert time.monotonic() < give_up_s, (counted, bounced)
        await asyncio.sleep(0.5)
