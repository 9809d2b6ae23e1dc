"""Incidents under `kill -9` in the middle of a storm: counts exact, no change twice in the tables, each published."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import orjson
import pytest

from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_incidents import incidents_waiting
from tests.faults.kill_rig import Body, Ledger, Sendtrace, sender
from tests.faults.worker_rig import Worker
from tests.integration.incidents_rig import alerts, long_ago_ms, make_topics, put, storm
from tests.integration.kafka_tables_rig import until
from tests.kafka.kafka_rig import Kafka
from tests.postgres.tables_rig import rows_of

KILLS = 2
SHARE = 4_000
CAMPAIGNS = 7


@pytest.mark.timeout(120)
async def test_the_role_is_killed_in_a_storm(
    kafka: Kafka, topic_prefix: str, postgres_url: str, tmp_path: Path
) -> None:
    rng = random.Random(5)
    await make_topics(kafka.address, topic_prefix)
    PostgresTables(postgres_url).close()
    failures = storm(KILLS * SHARE, from_ms=long_ago_ms(), campaigns=CAMPAIGNS)
    settings = {"SENDTRACE_TABLES__POSTGRES": postgres_url}
    role = Worker(kafka.address, topic_prefix, tmp_path / "r", role=("sink", "incidents"), settings=settings)
    try:
        for number in range(KILLS):
            share = failures[number * SHARE : (number + 1) * SHARE]
            await put(kafka.address, topic_prefix, share)
            await role.start()
            await until(partial(has_more, postgres_url, counted(postgres_url)))
            await asyncio.sleep(rng.uniform(0, 0.3))
            await role.kill()
        await role.start()
        await until(lambda: counted(postgres_url) == len(failures), within_s=30)
        await until(lambda: rows_of(postgres_url, "SELECT 1 FROM incident_changes WHERE published_at IS NULL") == [])
        assert await role.stop() == 0
    finally:
        await role.kill()
        print(role.said)  # noqa: T201 (shown when the test fails)

    found = rows_of(postgres_url, "SELECT campaign_id, count FROM incidents")
    assert sorted(found) == sorted(Counter(one["campaign_id"] for one in failures).items())
    changes = rows_of(postgres_url, "SELECT incident_id, change FROM incident_changes WHERE change <> 'updated'")
    assert max(Counter(changes).values()) == 1 or Counter(changes).most_common(1)[0][0][1] == "escalated"
    ids = {one.ce_id for one in await alerts(kafka.address, topic_prefix)}
    assert ids == {row[0] for row in rows_of(postgres_url, "SELECT change_id FROM incident_changes")}


def has_more(url: str, count: int) -> bool:
    return counted(url) > count


def counted(url: str) -> int:
    return sum(int(str(count)) for (count,) in rows_of(url, "SELECT count FROM incidents"))


def aborts(name: int) -> Iterator[Body]:
    """Messages without end that were aborted because of a template."""
    for number in itertools.count():
        metadata = {"reason": "Template error", "campaign_api_id": f"c{number % CAMPAIGNS}"}
        dispatch_id = f"d-{name}-{number}"
        content = orjson.dumps({"dispatch_id": dispatch_id, "status": "aborted", "metadata": metadata})
        yield Body(content, (dispatch_id, ""))


class Paced:
    """A storm that a processor can handle one by one, as it does after it was killed."""

    async def wait(self) -> None:
        """See `Pace`."""
        await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
async def test_the_embedded_processor_is_killed_in_a_storm(tmp_path: Path) -> None:
    rng = random.Random(5)
    product = Sendtrace(tmp_path)
    await product.start()
    ledger, stop = Ledger(), asyncio.Event()
    senders = [
        asyncio.ensure_future(sender(product.port, product.path, aborts(name), ledger, stop, may_send=Paced()))
        for name in range(4)
    ]
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(1.0, 2.0))
        product.kill_processor()
    await asyncio.sleep(1.0)
    stop.set()
    await asyncio.gather(*senders)
    await product.caught_up(30)
    await until(lambda: waiting(product) == 0, within_s=30)
    assert await product.stop() == 0

    with closing(product.tables()) as database:
        failed = dict(database.execute("SELECT campaign_id, count(*) FROM failures GROUP BY 1"))
        found = dict(database.execute("SELECT campaign_id, count FROM incidents WHERE rule = 'abort_template'"))
        opened = database.execute("SELECT incident_id FROM incident_changes WHERE change = 'opened'").fetchall()
    assert sum(failed.values()) > 200, "too little load to prove anything"
    assert found == failed
    assert len(opened) == len(set(opened)) == CAMPAIGNS


def waiting(product: Sendtrace) -> int:
    return incidents_waiting(product.data / "tables.db")
