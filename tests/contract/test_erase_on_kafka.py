"""Erasing beside a real worker and sink on Kafka: the topics still name the recipient, the tables do not."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psycopg
import pytest

from schemas.postback import KIND_POSTBACK, Postback
from tests.e2e.program import environment
from tests.faults.worker_rig import Worker, feed, topics
from tests.integration.read_rig import MIDNIGHT_MS, Sent, braze
from tests.integration.test_erase_tables import ANN, BOB, REASON, SECRET, named
from tests.kafka.kafka_rig import Kafka

_WITHIN_S: Final = 40.0


def received(*sent: Sent, first: int) -> list[Postback]:
    return [
        Postback(
            *(one.source, one.provider, KIND_POSTBACK, f"receipt-{number}", MIDNIGHT_MS + number),
            *(one.content_type, one.content_encoding, one.body),
        )
        for number, one in enumerate(sent, start=first)
    ]


def dump(url: str) -> dict[str, str]:
    with psycopg.connect(url) as db:
        names = [row[0] for row in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {name: str(db.execute(f'SELECT t FROM "{name}" AS t').fetchall()).lower() for name in names}  # noqa: S608  names of ours


async def until(url: str, query: str, count: int) -> None:
    give_up_s = time.monotonic() + _WITHIN_S
    found = 0
    while found != count and time.monotonic() < give_up_s:
        await asyncio.sleep(0.1)
        with psycopg.connect(url) as db:
            found = (db.execute(query.encode()).fetchone() or (0,))[0]
    assert found == count


@pytest.mark.timeout(150)
async def test_late_postbacks_do_not_bring_a_recipient_back(
    kafka: Kafka, topic_prefix: str, postgres_url: str, tmp_path: Path
) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    settings = {"SENDTRACE_TABLES__POSTGRES": postgres_url, "SENDTRACE_PERSONAL__KEY": SECRET}
    worker = Worker(kafka.address, topic_prefix, tmp_path / "worker", settings=settings)
    sink = Worker(kafka.address, topic_prefix, tmp_path / "sink", role=["sink", "tables"], settings=settings)
    try:
        await asyncio.gather(worker.start(), sink.start())
        first = (braze("b1", "bounced", reason=REASON.format(ANN)), named("d1", ANN), named("d2", BOB))
        await feed(kafka.address, topic_prefix, received(*first, first=0))
        await until(postgres_url, "SELECT count(*) FROM postbacks", 3)
        assert {"messages", "transitions"} <= {name for name, rows in dump(postgres_url).items() if ANN in rows}
        await until(postgres_url, "SELECT count(*) FROM personal_data", 4)

        env = environment(**settings, SENDTRACE_KAFKA=kafka.address, SENDTRACE_KAFKA__TOPIC_PREFIX=topic_prefix)
        erase = [sys.executable, "-m", "sendtrace", "erase", ANN, "--yes", "--json"]
        done = await asyncio.to_thread(subprocess.run, erase, check=True, capture_output=True, env=env, cwd=tmp_path)
        assert json.loads(done.stdout)["rows"] == {"messages": 1, "transitions": 1, "personal_data": 2}

        late = (braze("b1", "aborted", reason=f"again {ANN}"), named("d1", ANN), named("d9", ANN))
        await feed(kafka.address, topic_prefix, received(*late, first=3))
        await until(postgres_url, "SELECT count(*) FROM postbacks", 6)

        after = dump(postgres_url)
        assert [name for name, rows in after.items() if ANN in rows] == []
        assert "[erased]" in after["messages"]
        await until(postgres_url, "SELECT count(*) FROM personal_data", 2)  # those of somebody else
        assert ANN not in worker.said + sink.said
    finally:
        await asyncio.gather(worker.kill(), sink.kill())
