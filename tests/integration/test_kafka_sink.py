"""The tables sink on a real broker: each record once, whatever happens, and the tables of the embedded pipeline."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.structs import TopicPartition

from processors.faust_shell.raw_records import STRANGER as WORKERS_STRANGER
from schemas.event import Rejected
from schemas.postback import Postback
from schemas.records import Audit
from schemas.rejections import RejectReason
from schemas.topics import DEAD, RAW, RECEIPTS, STATUS, TRANSITIONS
from sendtrace.audit import audit
from sendtrace.kafka_log_view import KafkaLogView
from sinks.tables import kafka_feed
from sinks.tables.changes import Retention, TablesWriter
from sinks.tables.kafka_raw import STRANGER
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.kafka_tables_rig import PARTITIONS, Feeder, Sink, everything, feeding, make_topics, rows, until
from tests.integration.read_rig import braze, documented
from tests.kafka.kafka_rig import Kafka
from tests.kafka.local_kafka import LocalKafka

SOME = [braze(f"d{number}", status) for number in range(20) for status in ("sent", "delivered")]


@pytest.fixture
async def feeder(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Feeder]:
    await make_topics(kafka.address, topic_prefix)
    async with feeding(kafka.address, topic_prefix, tmp_path) as feeder:
        yield feeder


@pytest.fixture
def sink(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Sink:
    return Sink(kafka.address, topic_prefix, tmp_path / "tables.db")


async def test_the_tables_are_those_of_the_embedded_pipeline(feeder: Feeder, sink: Sink) -> None:
    sent = documented()
    for start in range(0, len(sent), 10):
        await feeder.keep(*sent[start : start + 10], *sent[:2])
        await feeder.handle()
    count = len(rows(feeder.expected_path, "SELECT 1 FROM postbacks"))

    async with sink.running():
        await sink.has(count)

    assert count > len(sent)
    assert everything(sink.path) == everything(feeder.expected_path)
    assert rows(sink.path, "SELECT * FROM set_aside") == []
    assert rows(sink.path, "SELECT source, hour FROM audit WHERE accepted <> applied + duplicates + dead") == []


async def test_it_goes_on_where_the_tables_are(feeder: Feeder, sink: Sink) -> None:
    await feeder.keep(*SOME[:20])
    await feeder.handle()
    async with sink.running():
        await sink.has(20)
    await feeder.keep(*SOME[20:])
    await feeder.handle()
    async with sink.running():
        await sink.has(40)

    assert everything(sink.path) == everything(feeder.expected_path)


async def test_a_transaction_that_was_aborted_does_not_show(feeder: Feeder, sink: Sink) -> None:
    await feeder.keep(*SOME[:10])
    await feeder.abort()
    await feeder.abort()
    async with sink.running() as running:
        await until(lambda: running.stats.caught_up)
        assert rows(sink.path, "SELECT count(*) FROM messages") == [(0,)]
        await feeder.handle()
        await sink.has(10)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert running.stats.not_understood == 0


async def test_only_the_newest_state_of_a_message_need_be_there(feeder: Feeder, sink: Sink) -> None:
    """What compaction leaves: states that were superseded are gone, everything else is there."""
    await feeder.keep(*SOME[::2])
    await feeder.handle(leave_out={STATUS})
    await feeder.keep(*SOME[1::2])
    await feeder.handle()
    async with sink.running():
        await sink.has(40)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert rows(sink.path, "SELECT * FROM set_aside") == []


async def test_a_sink_far_behind_reads_the_states_in_parts(
    feeder: Feeder, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_feed, "_RECORDS_A_CHUNK", 3)
    for one in SOME:
        await feeder.keep(one)
        await feeder.handle()
    async with sink.running() as running:
        await sink.has(40)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert running.stats.transactions > 40 / 3
    assert rows(sink.path, "SELECT * FROM set_aside") == []


async def test_what_speaks_of_a_state_waits_for_it(feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str) -> None:
    """A transaction becomes visible partition by partition; here for seconds not where the states are."""
    await feeder.keep(*SOME[:8])
    states = await feeder.handle(leave_out={STATUS})
    async with AsyncExitStack() as stack:
        late = AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=f"{topic_prefix}late")
        stack.push_async_callback(late.stop)
        await late.start()
        await stack.enter_async_context(sink.running())
        async with late.transaction():
            for partition, output in states:
                await late.send_and_wait(f"{topic_prefix}status", output.value, key=output.key, partition=partition)
            await asyncio.sleep(2)
            assert rows(sink.path, "SELECT count(*) FROM postbacks") == [(0,)]
        await sink.has(8)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert rows(sink.path, "SELECT * FROM set_aside") == []


async def accounted(sink: Sink, kafka: Kafka, prefix: str) -> Audit:
    reader, log = SqliteReader(sink.path), KafkaLogView([kafka.address], prefix)
    try:
        return await asyncio.to_thread(audit, reader, log)
    finally:
        reader.close()
        await asyncio.to_thread(log.close)


def sums(account: Audit) -> tuple[int, int, int, int, int]:
    return (account["accepted"], account["applied"], account["duplicates"], account["dead"], account["pending"])


async def test_a_body_that_lies_on_the_topic_twice_counts_once(
    feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str
) -> None:
    first, second = await feeder.keep(*SOME[:2])
    await feeder.put(first)
    await feeder.handle()
    async with sink.running():
        await sink.has(2)
        await feeder.put(second, first)
        await feeder.handle()
        await until(lambda: rows(sink.path, "SELECT sum(repeated) FROM audit") == [(3,)])

    assert sums(await accounted(sink, kafka, topic_prefix)) == (2, 2, 0, 0, 0)
    assert rows(sink.path, "SELECT accepted, repeated FROM audit") == [(5, 3)]
    assert rows(sink.path, "SELECT count(*) FROM postbacks") == [(2,)]


def nothing_is_understood(_postback: Postback) -> Rejected:
    return Rejected(RejectReason.INVALID_JSON, "Not JSON, to this version.")


async def test_a_dead_letter_that_is_sent_again_settles(
    feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str
) -> None:
    sent = await feeder.keep(*SOME[:3])
    await feeder.handle(normalize=nothing_is_understood)
    async with sink.running():
        await sink.has(3, "dead_letters")
        await feeder.put(*sent)
        await feeder.handle(normalize=nothing_is_understood)
        await until(lambda: rows(sink.path, "SELECT sum(repeated) FROM audit") == [(3,)])
        assert sums(await accounted(sink, kafka, topic_prefix)) == (3, 0, 0, 3, 0)
        await feeder.put(*sent[:2])
        await feeder.handle()
        await until(lambda: rows(sink.path, "SELECT sum(repeated) FROM audit") == [(5,)])

    account = await accounted(sink, kafka, topic_prefix)
    assert (sums(account), account["balanced"]) == ((3, 2, 0, 1, 0), True)
    open_ids = [(sent[2].receipt_id,)]
    assert rows(sink.path, "SELECT dead_id FROM dead_letters WHERE retried_at IS NULL") == open_ids
    assert rows(sink.path, "SELECT receipt_id FROM postbacks WHERE message_seq IS NULL") == open_ids


async def test_a_dead_letter_that_comes_after_it_was_settled_is_settled(feeder: Feeder, sink: Sink) -> None:
    """Its topic has other partitions: nothing says that they are read in the order of the transactions."""
    sent = await feeder.keep(SOME[0])
    letters = await feeder.handle(normalize=nothing_is_understood, leave_out={DEAD})
    await feeder.put(*sent)
    await feeder.handle()
    async with sink.running():
        await sink.has(1)
        for _, output in letters:
            await feeder.send(DEAD, output.value, key=output.key, headers=output.headers)
        await sink.has(1, "dead_letters")

    assert rows(sink.path, "SELECT count(*) FROM dead_letters WHERE retried_at IS NULL") == [(0,)]


async def test_what_no_worker_has_handled_is_pending(
    feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str
) -> None:
    await feeder.keep(*SOME[:4])
    await feeder.handle()
    async with sink.running():
        await sink.has(4)
    await feeder.keep(*SOME[4:9])

    account = await accounted(sink, kafka, topic_prefix)
    assert (sums(account), account["balanced"]) == ((9, 4, 0, 0, 5), True)


async def test_a_raw_record_a_worker_passed_over_is_an_imbalance(
    feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str
) -> None:
    await feeder.keep(*SOME[:30])
    await feeder.handle(leave_out={RECEIPTS})
    await feeder.keep(*SOME[30:])
    await feeder.handle()
    async with sink.running():
        await sink.has(10)

    account = await accounted(sink, kafka, topic_prefix)
    assert (sums(account), account["balanced"]) == ((40, 10, 0, 0, 0), False)


async def test_what_no_gateway_wrote_is_counted_as_the_worker_names_it(feeder: Feeder, sink: Sink) -> None:
    await feeder.send(RAW, b"hello", partition=0)
    await feeder.send(RECEIPTS, b'{"next_offset": 1, "receipts": [], "identifiers": []}', partition=0)
    async with sink.running():
        await sink.has(1, "audit")

    assert rows(sink.path, "SELECT source, accepted FROM audit") == [(STRANGER, 1)]
    assert STRANGER == WORKERS_STRANGER


async def test_records_that_are_none_stop_nothing(feeder: Feeder, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    for topic, value in ((STATUS, b"{"), (TRANSITIONS, b"[]"), (RECEIPTS, b'{"next_offset": "1"}'), (DEAD, b"x")):
        await feeder.send(topic, value, key=b"k")
    await feeder.send(STATUS, None, key=b"a tombstone")
    await feeder.keep(*SOME[:6])
    await feeder.handle()
    async with sink.running() as running:
        await sink.has(6)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert running.stats.not_understood == 4
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sorted(line.split("@")[0] for line in told) == ["dead 0", "receipts 0", "status 0", "transitions 0"]


async def test_receipts_of_raw_records_that_are_not_there_are_told_and_not_waited_for(
    feeder: Feeder, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    await feeder.keep(*SOME[:10])
    await feeder.send(RECEIPTS, b'{"next_offset": 999, "receipts": [], "identifiers": []}', partition=0)
    await feeder.handle()
    await feeder.send(RECEIPTS, b'{"next_offset": 1, "receipts": [], "identifiers": []}', partition=0)
    async with sink.running():
        await sink.has(10)
        await feeder.keep(*SOME[10:])
        await feeder.handle()
        await sink.has(40)

    assert sum(accepted for (accepted,) in rows(sink.path, "SELECT accepted FROM audit")) == 40
    assert "speak of raw records up to 999" in caplog.text


async def test_rows_the_database_refuses_are_set_aside_and_the_others_kept(feeder: Feeder, sink: Sink) -> None:
    await feeder.send(STATUS, b'{"message_id": "m"}', key=b"m")
    await feeder.send(TRANSITIONS, b'{"message_id": "none such"}')
    await feeder.keep(*SOME[:6])
    await feeder.handle()
    async with sink.running() as running:
        await sink.has(6)

    assert everything(sink.path) == everything(feeder.expected_path)
    assert running.stats.set_aside == 2
    assert rows(sink.path, "SELECT table_name, reason, record FROM set_aside ORDER BY 1") == [
        ("messages", "KeyError: 'source'", '{"message_id":"m"}'),
        ("transitions", "KeyError: 'none such'", '{"message_id":"none such"}'),
    ]


async def test_a_database_that_is_away_for_a_while_costs_nothing(
    feeder: Feeder, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def open_writer() -> TablesWriter:
        tries.append(1)
        if len(tries) < 4:
            raise sqlite3.OperationalError("disk I/O error")
        return SqliteSink(sink.path)

    await feeder.keep(*SOME)
    await feeder.handle()
    async with sink.running(open_writer):
        await sink.has(40)

    assert everything(sink.path) == everything(feeder.expected_path)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == ["tables: disk I/O error; trying again until it goes"]


async def test_dead_letters_that_are_old_enough_are_deleted_and_stay_counted(feeder: Feeder, sink: Sink) -> None:
    await feeder.keep(*(braze("d1", "sent")._replace(body=b"{") for _ in range(3)))
    await feeder.handle()
    async with sink.running():
        await sink.has(3, "dead_letters")
    nothing_yet, everything_now = Retention("2000-01-01", "2000-01-01"), Retention("2999-01-01", "2999-01-01")

    async with sink.running(retention=lambda: nothing_yet):
        await sink.has(3, "dead_letters")
    async with sink.running(retention=lambda: everything_now):
        await sink.has(0, "dead_letters")

    assert rows(sink.path, "SELECT sum(dead) FROM audit") == [(3,)]


async def test_what_retention_took_before_it_was_counted_is_told_once(
    feeder: Feeder, sink: Sink, kafka: Kafka, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    await feeder.keep(*SOME[:20])
    await feeder.handle()
    await delete_raw(kafka.address, topic_prefix)
    await feeder.keep(*SOME[20:])
    await feeder.handle()
    async with sink.running():
        await sink.has(40)

    assert sum(accepted for (accepted,) in rows(sink.path, "SELECT accepted FROM audit")) == 20
    told = [record.getMessage() for record in caplog.records if "before they were counted" in record.getMessage()]
    assert len(told) == 1
    assert "removed 20 records" in told[0]


async def delete_raw(address: str, prefix: str) -> None:
    """As retention does: everything there is now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    places = [TopicPartition(f"{prefix}raw", number) for number in range(PARTITIONS)]
    await admin.delete_records(dict.fromkeys(places, RecordsToDelete(-1)))
    await admin.close()


async def test_a_topic_that_is_missing_is_told_with_the_way_out(
    sink: Sink, kafka: Kafka, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sink.running() as running:
        await until(lambda: running.stats.trouble != "not begun")
        told = f"kafka: the topic {topic_prefix}raw does not exist; run `sendtrace topics create`"
        assert running.stats.trouble == told
        await make_topics(kafka.address, topic_prefix)
        async with feeding(kafka.address, topic_prefix, tmp_path) as feeder:
            await feeder.keep(*SOME[:4])
            await feeder.handle()
            await sink.has(4)

    assert told in caplog.text


@pytest.mark.timeout(150)  # a broker starts three times on a small machine
async def test_kafka_may_be_away_at_the_start_and_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = LocalKafka.create(tmp_path / "kafka")
    sink = Sink(broker.address, "t.", tmp_path / "tables.db")
    try:
        async with sink.running() as running:
            await until(lambda: "no broker answers" in (running.stats.trouble or ""))
            await asyncio.to_thread(broker.start)
            await make_topics(broker.address, "t.")
            async with feeding(broker.address, "t.", tmp_path) as feeder:
                await feeder.keep(*SOME[:20])
                await feeder.handle()
                await sink.has(20)
                broker.kill()
                await until(lambda: running.stats.trouble is not None)
                assert not running.is_ready()
                await asyncio.to_thread(broker.start)
                await feeder.keep(*SOME[20:])
                await feeder.handle()
                await sink.has(40)
                assert everything(sink.path) == everything(feeder.expected_path)
            await until(running.is_ready)
    finally:
        broker.kill()

    assert 2 <= len([record for record in caplog.records if record.getMessage().startswith("kafka: ")]) <= 6
