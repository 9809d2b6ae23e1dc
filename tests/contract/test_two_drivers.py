"""One behaviour, two drivers: equal postbacks give equal tables, dead letters and audit, embedded and on Kafka."""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.file_log import FileLog
from ingest.file_log_reader import FileLogReader
from schemas.postback import Postback
from schemas.receipts import ReceiptIds
from schemas.records import Audit, DeadLetterView, MessageDetail, Transition
from sendtrace.audit import audit
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_log_view import KafkaLogView
from sendtrace.processor_loop import open_loop, processor_lock
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.tables_reader import BodyAt, TablesReader
from tests.faults.worker_rig import Worker, feed, postbacks, topics
from tests.kafka.kafka_rig import Kafka
from tests.unit.test_provider_samples import RECEIVED_MS, SAMPLES, postback_of

_NUL = b"\\u0000"  # Postgres holds no such text: tests/integration/test_postgres_writer.py has what becomes of it


class Seen(NamedTuple):
    """Everything a reader can be shown, in an order that does not depend on partitions."""

    messages: dict[str, MessageDetail]
    dead: dict[str, DeadLetterView]
    audit: Audit


def traffic() -> list[Postback]:
    """Every documented request of every provider, some of them again, among ordinary traffic out of order."""
    rng, receipt_ids = random.Random(7), ReceiptIds()
    documented = [
        postback_of(provider, sample)._replace(receipt_id=receipt_ids.next(RECEIVED_MS))
        for number, (provider, sample) in enumerate(SAMPLES)
        for _ in range(1 + number % 2)
    ]
    sent = documented + postbacks(1_500, rng)
    rng.shuffle(sent)
    return sent


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
        while loop.step():
            pass
        tables.close()
    with closing(SqliteReader(paths.tables)) as found, closing(reader):
        return await asyncio.to_thread(seen, found, reader.body_at, audit(found, reader))


class _Kept:
    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        assert kept


async def on_kafka(
    kafka: Kafka, prefix: str, directory: Path, sent: list[Postback], *, settings: dict[str, str], partitions: int
) -> Audit:
    """The audit, once all is in the tables."""
    await topics(kafka.address, prefix, partitions=partitions)
    worker = Worker(kafka.address, prefix, directory / "worker")
    sink = Worker(kafka.address, prefix, directory / "sink", role=("sink", "tables"), settings=settings)
    try:
        await asyncio.gather(worker.start(), sink.start())
        await feed(kafka.address, prefix, sent)
        async with asyncio.timeout(60):
            while True:
                account = await sink.audit()
                if account is not None and account["accepted"] == len(sent) and not account["pending"]:
                    break
                await asyncio.sleep(0.2)
        assert (await worker.stop(), await sink.stop()) == (0, 0)
    finally:
        await worker.kill()
        await sink.kill()
        print(worker.said, sink.said)  # noqa: T201 (shown when the test fails)
    return account


def seen(reader: TablesReader, body_at: BodyAt, account: Audit) -> Seen:
    messages: dict[str, MessageDetail] = {}
    cursor = None
    while True:
        page = reader.messages(limit=1_000, cursor=cursor)
        for state in page.items:
            detail = reader.message(state["message_id"], body_at=body_at)
            assert detail is not None
            messages[state["message_id"]] = {
                **detail,
                "transitions": [_at_last(each) for each in detail["transitions"]],
            }
        if (cursor := page.next_cursor) is None:
            break
    dead = {letter["receipt_id"]: letter for letter in reader.dead(limit=1_000).items}
    return Seen(messages, dead, account)


def _at_last(transition: Transition) -> Transition:
    """Without what may be learnt later: Postgres has it as it was then, SQLite joins it to the message as it is."""
    return {**transition, "channel": None, "reference": None, "campaign_id": None}


@pytest.mark.timeout(150)
@pytest.mark.parametrize("partitions", [1, 3])
async def test_sqlite_behind_kafka_is_the_same(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, partitions: int
) -> None:
    sent = traffic()
    expected = await embedded(tmp_path / "embedded", sent)

    account = await on_kafka(kafka, topic_prefix, tmp_path, sent, settings={}, partitions=partitions)

    log = KafkaLogView([kafka.address], topic_prefix)
    with closing(SqliteReader(DataPaths(tmp_path / "sink").tables)) as reader, closing(log):
        assert_same(await asyncio.to_thread(seen, reader, log.body_at, account), expected)


@pytest.mark.timeout(150)
async def test_postgres_behind_kafka_is_the_same(
    kafka: Kafka, topic_prefix: str, postgres_url: str, tmp_path: Path
) -> None:
    sent = [postback for postback in traffic() if _NUL not in postback.body]
    expected = await embedded(tmp_path / "embedded", sent)

    settings = {"SENDTRACE_TABLES__POSTGRES": postgres_url}
    account = await on_kafka(kafka, topic_prefix, tmp_path, sent, settings=settings, partitions=3)

    log = KafkaLogView([kafka.address], topic_prefix)
    with closing(PostgresReader(postgres_url)) as reader, closing(log):
        assert_same(await asyncio.to_thread(seen, reader, log.body_at, account), expected)


def assert_same(found: Seen, expected: Seen) -> None:
    assert found.audit == expected.audit
    assert found.dead == expected.dead
    assert found.messages.keys() == expected.messages.keys()
    different = [name for name, detail in expected.messages.items() if found.messages[name] != detail]
    for name in different[:1]:
        told, wanted = dict(found.messages[name]), dict(expected.messages[name])
        assert {field: value for field, value in told.items() if value != wanted[field]} == {}, wanted
