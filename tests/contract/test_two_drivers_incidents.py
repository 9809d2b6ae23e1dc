"""One behaviour, two drivers: equal postbacks give equal incidents, embedded and on Kafka, whichever the database."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg
import pytest

from ingest.file_log import FileLog
from ingest.file_log_reader import FileLogReader
from processors.incidents.rules import DEFAULT_RULES
from schemas.incidents import Incident
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.processor_incidents import incident_turns
from sendtrace.processor_loop import open_loop, processor_lock
from sinks.tables.incident_tables import INCIDENT_COLUMNS
from sinks.tables.postgres_connect import connect
from tests.faults.worker_rig import Worker, feed, topics
from tests.integration.kafka_tables_rig import until
from tests.kafka.kafka_rig import Kafka

#: A silence goes on for as long as the clock does, so its numbers are those of the moment.
COLUMNS = ", ".join(INCIDENT_COLUMNS)
INCIDENTS = f"SELECT {COLUMNS} FROM incidents WHERE kind <> 'silence' ORDER BY incident_id"  # noqa: S608  our own names
CHANGES = (
    "SELECT change_id FROM incident_changes JOIN incidents USING (incident_id) "
    "WHERE kind <> 'silence' AND change <> 'updated' ORDER BY change_id"
)
OPEN = "SELECT count(*) FROM incidents WHERE state = 'open' AND kind <> 'silence'"


class Seen(NamedTuple):
    """What is the same for the same postbacks."""

    incidents: list[Incident]
    changes: list[str]


def traffic() -> list[Postback]:
    """Four campaigns in three hours of long ago: aborts, bounces, complaints, odd words and bodies, out of order."""
    rng, ids = random.Random(3), ReceiptIds()
    begin_ms = time.time_ns() // 1_000_000 - 20 * 3_600_000
    begin_ms -= begin_ms % 60_000
    sent = []
    for number in range(2_000):
        at_ms = begin_ms + number * 3 * 3_600 // 2
        body = _body(rng, number)
        sent.append(Postback("braze", "braze", KIND_POSTBACK, ids.next(at_ms), at_ms, "application/json", "", body))
    return sent


def _body(rng: random.Random, number: int) -> bytes:
    if rng.random() < 0.02:
        return b'{"odd": %d' % number
    status = rng.choices(["delivered", "bounced", "aborted", "complained", "enchanted"], [80, 10, 5, 2, 1])[0]
    reasons = {
        "bounced": [
            "550 5.1.1 no such user",
            "550 5.7.26 gmail.com: not authenticated",
            "554 5.7.1 listed by a block list",
        ],
        "aborted": ["Template error", "Liquid syntax error", "rate limited"],
    }
    metadata = {"campaign_api_id": f"c{rng.randrange(4)}", "external_send_id": f"o{number}"}
    if status in reasons:
        metadata["reason"] = rng.choice(reasons[status])
    return orjson.dumps({"dispatch_id": f"d{number}", "status": status, "metadata": metadata})


async def embedded(directory: Path, sent: list[Postback]) -> Seen:
    paths, clock = DataPaths(directory), SystemClock()
    directory.mkdir()
    log = FileLog(paths.raw, clock=clock)
    log.start()
    for postback in sent:
        log.append(postback, _Kept())
    await log.close()
    reader = FileLogReader(paths.raw)
    with processor_lock(paths, wait=False):
        loop, tables = open_loop(paths, reader=reader, rules=None, clock=clock)
        turns = incident_turns(tables, rules=DEFAULT_RULES, classes=None, clock=clock)
        while loop.step():
            turns.run(busy=True, caught_up=False)
        give_up_s = time.monotonic() + 20
        while turns.run(busy=False, caught_up=True) or sqlite_rows(paths.tables, OPEN) != [(0,)]:
            assert time.monotonic() < give_up_s, sqlite_rows(paths.tables, INCIDENTS)
            time.sleep(0.05)  # noqa: ASYNC251  nothing else runs here
        tables.close()
    reader.close()
    return seen_sqlite(paths.tables)


class _Kept:
    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        assert kept


def sqlite_rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()
    except sqlite3.OperationalError:  # not made yet
        return []


def postgres_rows(url: str, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(connect(url)) as db:
            return db.execute(query).fetchall()
    except psycopg.errors.UndefinedTable:
        return []


def seen_sqlite(path: Path) -> Seen:
    return _seen(sqlite_rows(path, INCIDENTS), sqlite_rows(path, CHANGES))


def seen_postgres(url: str) -> Seen:
    return _seen(postgres_rows(url, INCIDENTS), postgres_rows(url, CHANGES))


def _seen(incidents: list[tuple[Any, ...]], changes: list[tuple[Any, ...]]) -> Seen:
    found: list[Any] = [dict(zip(INCIDENT_COLUMNS, row, strict=True)) for row in incidents]
    for one in found:
        one["samples"] = orjson.loads(one["samples"])
    return Seen(found, [change_id for (change_id,) in changes])


async def on_kafka(kafka: Kafka, prefix: str, directory: Path, sent: list[Postback], postgres_url: str) -> None:
    """Until all incidents are over: a worker, and behind it the sinks on SQLite and those on Postgres, as they run."""
    await topics(kafka.address, prefix, partitions=3)
    await feed(kafka.address, prefix, sent)  # a backlog, partition by partition: not in the order of its times
    path = DataPaths(directory / "sqlite").tables
    on_postgres = {"SENDTRACE_TABLES__POSTGRES": postgres_url}
    roles = [Worker(kafka.address, prefix, directory / "worker")]
    for name in ("tables", "incidents"):
        roles += [
            Worker(kafka.address, prefix, directory / "sqlite", role=("sink", name)),
            Worker(kafka.address, prefix, directory / f"pg-{name}", role=("sink", name), settings=on_postgres),
        ]
    try:
        await asyncio.gather(*(role.start() for role in roles))
        for rows in (partial(sqlite_rows, path), partial(postgres_rows, postgres_url)):
            await until(partial(_is_over, rows), within_s=60)
        assert [await role.stop() for role in roles] == [0] * len(roles)
    finally:
        for role in roles:
            await role.kill()
            print(role.said)  # noqa: T201 (shown when the test fails)


def _is_over(rows: Callable[[str], list[tuple[Any, ...]]]) -> bool:
    return bool(rows(INCIDENTS)) and rows(OPEN) == [(0,)]


@pytest.mark.timeout(150)
async def test_incidents_behind_kafka_are_the_same(
    kafka: Kafka, topic_prefix: str, postgres_url: str, tmp_path: Path
) -> None:
    sent = traffic()
    expected = await embedded(tmp_path / "embedded", sent)

    await on_kafka(kafka, topic_prefix, tmp_path, sent, postgres_url)

    assert {one["rule"] for one in expected.incidents} >= {"abort_template", "bounce_rate", "dead_letters"}
    for found in (seen_sqlite(DataPaths(tmp_path / "sqlite").tables), seen_postgres(postgres_url)):
        assert [one["incident_id"] for one in found.incidents] == [one["incident_id"] for one in expected.incidents]
        assert [
            _differ(*pair) for pair in zip(found.incidents, expected.incidents, strict=True) if _differ(*pair)
        ] == []
        assert found.changes == expected.changes


def _differ(one: Incident, other: Incident) -> dict[str, object]:
    return {name: (one.get(name), other.get(name)) for name in one if one.get(name) != other.get(name)}
