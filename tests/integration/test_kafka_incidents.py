"""The incidents sink on a real broker: each failure counted once, each change published, whatever happens between."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.incidents import GroupStore, IncidentOutputs
from schemas.records import Transition
from schemas.tallies import Tally
from schemas.topics import FAILURES, RAW, TALLIES
from sinks.tables import kafka_feed, kafka_incidents_feed
from sinks.tables.incident_tables import IncidentTables
from sinks.tables.postgres_incidents import PostgresIncidents
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_incidents import open_sqlite_incidents
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.incidents_rig import (
    Recorded,
    alerts,
    failure,
    handled,
    long_ago_ms,
    make_topics,
    put,
    put_raw,
    running,
    step,
    storm,
)
from tests.integration.kafka_tables_rig import rows, until
from tests.kafka.kafka_rig import Kafka
from tests.postgres.local_postgres import LocalPostgres
from tests.postgres.tables_rig import rows_of

COUNTS = "SELECT campaign_id, count FROM incidents ORDER BY 1"
UNPUBLISHED = "SELECT count(*) FROM incident_changes WHERE published_at IS NULL"
ALL = "SELECT * FROM incidents ORDER BY incident_id"


class Tables:
    """A file of tables that the tables sink made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        SqliteSink(self.path).close()

    def open(self) -> IncidentTables:
        return open_sqlite_incidents(self.path)

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        return rows(self.path, select)

    def do(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            for one in statements:
                db.execute(one)


@pytest.fixture
async def tables(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Tables:
    await make_topics(kafka.address, topic_prefix)
    found = Tables(tmp_path / "tables.db")
    found.make()
    return found


async def test_failures_are_incidents_and_their_changes_are_published_in_order(
    kafka: Kafka, topic_prefix: str, tables: Tables
) -> None:
    await put(kafka.address, topic_prefix, storm(300, from_ms=long_ago_ms(), campaigns=3))
    async with running(kafka.address, topic_prefix, tables.open) as sink:
        await until(lambda: tables.rows(COUNTS) == [("c0", 100), ("c1", 100), ("c2", 100)])
        await until(lambda: tables.rows(UNPUBLISHED) == [(0,)])
        await until(sink.is_ready)

    told = await alerts(kafka.address, topic_prefix)
    written = tables.rows("SELECT incident_id, change_id, change FROM incident_changes ORDER BY seq")
    for name in {one.key for one in told}:
        of_it = [(one.key, one.ce_id, one.change) for one in told if one.key == name]
        assert of_it == [row for row in written if row[0] == name]
    assert len(told) == len(written)
    assert {one.incident["campaign_id"] for one in told} == {"c0", "c1", "c2"}


async def test_it_goes_on_where_the_tables_are(kafka: Kafka, topic_prefix: str, tables: Tables) -> None:
    failures = storm(200, from_ms=long_ago_ms())
    await put(kafka.address, topic_prefix, failures[:120])
    async with running(kafka.address, topic_prefix, tables.open):
        await until(lambda: tables.rows(COUNTS) == [("c0", 120)])
    await put(kafka.address, topic_prefix, failures[120:], abort=True)
    await put(kafka.address, topic_prefix, failures[120:])
    async with running(kafka.address, topic_prefix, tables.open):
        await until(lambda: tables.rows(COUNTS) == [("c0", 200)])

    assert tables.rows("SELECT count(*) FROM incident_changes WHERE change = 'opened'") == [(1,)]


async def test_a_replay_gives_the_same_incidents_and_tells_nobody(
    kafka: Kafka, topic_prefix: str, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(kafka.address, topic_prefix, storm(500, from_ms=long_ago_ms(), campaigns=4))
    once, again = Recorded(), Recorded()
    async with running(kafka.address, topic_prefix, tables.open, publisher=once):
        await until(lambda: tables.rows("SELECT sum(count), min(state) FROM incidents") == [(500, "resolved")])
        await until(lambda: tables.rows(UNPUBLISHED) == [(0,)])
    before = tables.rows(ALL)
    ids = tables.rows("SELECT change_id, seq FROM incident_changes WHERE change <> 'updated' ORDER BY seq")

    tables.do("DELETE FROM incident_groups", "DELETE FROM incident_clock", "DELETE FROM positions")
    tables.do("UPDATE incidents SET count = 0, state = 'open'")
    monkeypatch.setattr(kafka_feed, "_RECORDS_A_CHUNK", 33)
    async with running(kafka.address, topic_prefix, tables.open, publisher=again):
        await until(lambda: tables.rows("SELECT sum(count), min(state) FROM incidents") == [(500, "resolved")])

    assert tables.rows(ALL) == before
    assert tables.rows("SELECT change_id, seq FROM incident_changes WHERE change <> 'updated' ORDER BY seq") == ids
    assert [one for one in again.outputs if dict(one.headers)["ce_type"] != b"sendtrace.incident.updated"] == []


async def test_a_change_that_may_not_have_arrived_is_published_again(
    kafka: Kafka, topic_prefix: str, tables: Tables
) -> None:
    publisher = Recorded()
    publisher.fail_next = 2
    await put(kafka.address, topic_prefix, storm(5, from_ms=long_ago_ms()))
    async with running(kafka.address, topic_prefix, tables.open, publisher=publisher):
        await until(lambda: tables.rows(UNPUBLISHED) == [(0,)])
        await until(lambda: tables.rows("SELECT state FROM incidents") == [("resolved",)])
        await until(lambda: tables.rows(UNPUBLISHED) == [(0,)])

    ids = [dict(one.headers)["ce_id"].decode() for one in publisher.outputs]
    assert set(ids) == {row[0] for row in tables.rows("SELECT change_id FROM incident_changes")}
    assert len(ids) > len(set(ids))
    assert tables.rows(COUNTS) == [("c0", 5)]


async def test_tables_that_are_not_made_yet_are_waited_for(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await make_topics(kafka.address, topic_prefix)
    await put(kafka.address, topic_prefix, storm(5, from_ms=long_ago_ms()))
    late = Tables(tmp_path / "late.db")
    async with running(kafka.address, topic_prefix, late.open) as sink:
        await until(lambda: "`sendtrace sink tables` makes it" in (sink.stats.trouble or ""))
        assert not sink.is_ready()
        late.make()
        await until(lambda: late.rows(COUNTS) == [("c0", 5)])

    assert len([one for one in caplog.records if one.levelname == "ERROR"]) == 1


async def test_records_that_are_none_of_ours_stop_nothing(
    kafka: Kafka, topic_prefix: str, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    now_ms = long_ago_ms()
    odd: list[dict[str, Any]] = [
        {**failure(1, at_ms=now_ms), "received_at": "yesterday"},
        {**failure(1, at_ms=now_ms), "received_at": "9999-01-01T00:00:00.000Z"},
        {**failure(1, at_ms=now_ms), "message_id": "x" * 5_000},
        {**failure(1, at_ms=now_ms), "bounce_class": 7},
    ]
    await put_raw(kafka.address, topic_prefix + FAILURES.name, b"{", b"[]", b"{}", *map(_json, odd))
    await put_raw(kafka.address, topic_prefix + TALLIES.name, b"1", b'{"counts": {"bounced": 9e99}}')
    newer = _json({**failure(2, at_ms=now_ms, reason="no\0thing"), "of_a_newer_worker": 1})
    await put_raw(kafka.address, topic_prefix + FAILURES.name, newer)
    async with running(kafka.address, topic_prefix, tables.open) as sink:
        await until(lambda: tables.rows(COUNTS) == [("spring", 1)])
        await until(lambda: sink.stats.not_understood == 9)

    assert sum("is not understood" in one.getMessage() for one in caplog.records) == 9


def _json(record: Any) -> bytes:  # noqa: ANN401  any record
    import orjson  # noqa: PLC0415  for this line

    return orjson.dumps(record)


class Faulty:
    """The step, with a fault in it as long as `broken` is true."""

    def __init__(self) -> None:
        self.broken = True
        self._step = step()

    def handle(
        self, store: GroupStore, failures: Sequence[Transition], tallies: Iterable[Tally], *, watermark_ms: int
    ) -> IncidentOutputs:
        if self.broken:
            raise KeyError(failures)
        return self._step.handle(store, failures, list(tallies), watermark_ms=watermark_ms)


async def test_a_fault_in_the_step_is_told_without_what_it_had_and_tried_again(
    kafka: Kafka, topic_prefix: str, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty()
    await put(kafka.address, topic_prefix, storm(5, from_ms=long_ago_ms()))
    async with running(kafka.address, topic_prefix, tables.open, with_step=faulty) as sink:
        await until(lambda: sink.stats.faults > 1)
        faulty.broken = False
        await until(lambda: tables.rows(COUNTS) == [("c0", 5)])
        await until(lambda: sink.stats.trouble is None)

    (told,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert told.startswith("tables: the incident step raised KeyError at test_kafka_incidents.py:")
    assert "Template error" not in told


async def test_the_clock_says_something_is_over_only_when_the_workers_have_caught_up(
    kafka: Kafka, topic_prefix: str, tables: Tables
) -> None:
    began_ms = long_ago_ms()
    await put_raw(kafka.address, topic_prefix + RAW.name, b"a body that no worker has handled", at_ms=began_ms + 9_000)
    await put(kafka.address, topic_prefix, storm(5, from_ms=began_ms))
    async with running(kafka.address, topic_prefix, tables.open) as sink:
        await until(sink.is_ready)
        transactions = sink.stats.transactions
        await put(kafka.address, topic_prefix, [failure(9, at_ms=began_ms + 5_000, campaign="c0")])
        await until(lambda: sink.stats.transactions > transactions)
        assert tables.rows("SELECT state, count FROM incidents") == [("open", 6)]
        await handled(kafka.address, topic_prefix, f"{topic_prefix}processor", 1)
        await until(lambda: tables.rows("SELECT state, count FROM incidents") == [("resolved", 6)])


async def test_a_worker_that_stands_still_holds_up_the_incidents_of_others_for_a_moment_only(
    kafka: Kafka, topic_prefix: str, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    began_ms = long_ago_ms()
    await put_raw(kafka.address, topic_prefix + RAW.name, b"a body that no worker has handled", at_ms=began_ms)
    await put(kafka.address, topic_prefix, storm(5, from_ms=began_ms + 60_000))
    async with running(kafka.address, topic_prefix, tables.open) as sink:
        await until(lambda: sink.stats.caught_up)
        assert tables.rows(COUNTS) == []
        monkeypatch.setattr(kafka_incidents_feed, "_PATIENCE_S", 0.0)
        await until(lambda: tables.rows(COUNTS) == [("c0", 5)])

    assert tables.rows("SELECT state FROM incidents") == [("open",)]


@pytest.mark.timeout(120)
async def test_postgres_may_be_away_for_a_while(
    kafka: Kafka, topic_prefix: str, private_postgres: LocalPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = private_postgres.url
    await make_topics(kafka.address, topic_prefix)
    PostgresTables(url).close()
    failures = storm(400, from_ms=long_ago_ms())
    await put(kafka.address, topic_prefix, failures[:200])
    async with running(kafka.address, topic_prefix, lambda: PostgresIncidents(url)) as sink:
        await until(lambda: rows_of(url, COUNTS) == [("c0", 200)])
        private_postgres.stop()
        await put(kafka.address, topic_prefix, failures[200:])
        await until(lambda: sink.stats.trouble is not None)
        private_postgres.start()
        await until(lambda: rows_of(url, COUNTS) == [("c0", 400)], within_s=30)
        await until(lambda: rows_of(url, "SELECT 1 FROM incident_changes WHERE published_at IS NULL") == [])

    ids = [one.ce_id for one in await alerts(kafka.address, topic_prefix)]
    assert set(ids) == {row[0] for row in rows_of(url, "SELECT change_id FROM incident_changes")}
    assert len([one for one in caplog.records if one.levelname == "ERROR"]) <= 4
