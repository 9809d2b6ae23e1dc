"""Promises 1 to 3 of design §2 on Kafka and Postgres, with every part of the pipeline killed in turn."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.faults.chaos import VICTIMS, Plan, run
from tests.kafka.kafka_jars import KafkaError, jars, java
from tests.kafka.kafka_rig import give_up

PLAN = Plan(
    postbacks=int(os.environ.get("POSTBACKS", "20000")),
    kills=int(os.environ.get("KILLS", "12")),
    seed=int(os.environ.get("SENDTRACE_SEED", time.time_ns() % 1_000_000)),
)


@pytest.mark.timeout(480)  # every part has to come back after each of its kills, on a machine with two cores
async def test_every_200_is_in_the_tables_once_whatever_was_killed(tmp_path: Path) -> None:
    try:
        java()
        jars()
    except KafkaError as error:
        give_up(str(error))
    print(f"SENDTRACE_SEED={PLAN.seed}")  # noqa: T201 (shown when it fails, to run the same plan again)

    report = await run(PLAN, tmp_path, say=print)

    assert report.answered >= PLAN.postbacks
    assert report.kills.total() == PLAN.kills
    assert set(report.kills) == set(VICTIMS)
