"""The turns of the incident step beside the embedded processor: bounded, in order, and harmless to the pipeline."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from processors.incidents.rules import DEFAULT_RULES
from processors.partition import PartitionProcessor
from processors.tallies import Tallies
from schemas.incidents import GroupStore, IncidentOutputs
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.receipts import ReceiptIds
from schemas.records import Transition
from schemas.tallies import Tally
from sendtrace import processor_incidents
from sendtrace.processor_incidents import IncidentTurns, incident_turns
from sinks.tables.incident_tables import Step
from sinks.tables.sqlite_incidents import EmbeddedIncidents, incidents_waiting
from sinks.tables.sqlite_writer import SqliteTables
from tests.integration.kafka_tables_rig import NORMALIZE
from tests.integration.read_rig import MIDNIGHT_MS

#: Of records of their own day: a clock that stands still, a while after the last of them.
NOW_MS = MIDNIGHT_MS + 12 * 3_600_000


class StandingClock:
    """A `Clock` that is moved by hand."""

    def __init__(self) -> None:
        self.ms = NOW_MS
        self.s = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.s


class Pipeline:
    """The processor and its tables, without the raw log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables = SqliteTables(path)
        self.clock = StandingClock()
        self._processor = PartitionProcessor(normalize=NORMALIZE, store=self.tables)
        self._ids = ReceiptIds()
        self._position = 0

    def handle(self, count: int, *, from_ms: int, every_ms: int = 10) -> None:
        """One batch of template aborts."""
        records = [self._record(from_ms + every_ms * number) for number in range(count)]
        batch = self._processor.handle(records)
        tallies = Tallies()
        tallies.add(batch)
        self.tables.commit(batch, self._position, tallies=tallies.take())

    def turns(self, step: Step | None = None) -> IncidentTurns:
        rules = [rule for rule in DEFAULT_RULES if rule.kind != "silence"]
        made = incident_turns(self.tables, rules=rules, classes=None, clock=self.clock)
        return made if step is None else IncidentTurns(EmbeddedIncidents(self.tables.connection), step, self.clock)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.tables.connection.execute(query).fetchall()

    def _record(self, at_ms: int) -> LogRecord:
        self._position += 1
        metadata = {"reason": "Template error", "campaign_api_id": "c1", "external_send_id": f"o{self._position}"}
        body = {"dispatch_id": f"d{self._position}", "status": "aborted", "metadata": metadata}
        postback = Postback(
            *("braze", "braze", KIND_POSTBACK, self._ids.next(at_ms), at_ms, "application/json", ""), orjson.dumps(body)
        )
        return LogRecord(self._position, postback)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(tmp_path / "tables.db")
    yield made
    made.tables.close()


class Watched:
    """A step that only notes what it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[int, int, int]] = []
        self.latest: list[str] = []
        self.fails: Exception | None = None

    def handle(
        self, store: GroupStore, failures: Sequence[Transition], tallies: Sequence[Tally], *, watermark_ms: int
    ) -> IncidentOutputs:
        store.due(watermark_ms, limit=1)
        if self.fails is not None:
            raise self.fails
        self.given.append((len(failures), len(tallies), watermark_ms))
        self.latest += [max((one["received_at"] for one in failures), default="")]
        self.latest += [min((one["first_received_at"] for one in tallies), default="9")]
        return IncidentOutputs([], [], [])


def test_a_turn_counts_what_is_there_once_and_deletes_the_tallies(pipeline: Pipeline) -> None:
    pipeline.handle(20, from_ms=MIDNIGHT_MS)
    turns = pipeline.turns()
    assert incidents_waiting(pipeline.path) == 21

    assert turns.run(busy=False, caught_up=False) is False
    pipeline.clock.s += 1
    pipeline.turns().run(busy=False, caught_up=False)

    assert pipeline.rows("SELECT state, count FROM incidents") == [("open", 20)]
    assert pipeline.rows("SELECT count(*) FROM tallies") == [(0,)]
    assert incidents_waiting(pipeline.path) == 0


def test_a_backlog_is_taken_in_parts_at_once_when_idle(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_incidents, "MOST_FAILURES", 70)
    for number in range(5):
        pipeline.handle(40, from_ms=MIDNIGHT_MS + number * 60_000)
    step = Watched()
    turns = pipeline.turns(step)

    runs = 1
    while turns.run(busy=False, caught_up=True):
        runs += 1

    assert sum(failures for failures, _, _ in step.given) == 200
    assert sum(tallies for _, tallies, _ in step.given) == 5
    assert len(step.given) == runs == 3
    assert [one[2] for one in step.given] == sorted(one[2] for one in step.given)
    assert step.given[-1][2] == NOW_MS - 1_000


def test_neither_stream_runs_ahead_of_the_other(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_incidents, "MOST_TALLIES", 2)
    for number in range(6):
        pipeline.handle(5, from_ms=MIDNIGHT_MS + number * 60_000)
    step = Watched()
    turns = pipeline.turns(step)

    while turns.run(busy=False, caught_up=True):
        pass

    assert [(failures, tallies) for failures, tallies, _ in step.given] == [(10, 2), (10, 2), (10, 2), (0, 0)]


def test_event_time_is_the_clock_s_only_when_the_raw_log_is_handled(pipeline: Pipeline) -> None:
    pipeline.handle(5, from_ms=MIDNIGHT_MS)
    turns = pipeline.turns()

    turns.run(busy=False, caught_up=False)
    pipeline.clock.s += 1
    turns.run(busy=True, caught_up=False)
    assert pipeline.rows("SELECT state FROM incidents") == [("open",)]
    pipeline.clock.s += 1
    turns.run(busy=False, caught_up=True)

    assert pipeline.rows("SELECT state FROM incidents") == [("resolved",)]


def test_a_busy_pipeline_is_asked_for_a_turn_once_a_second_and_for_a_tenth_of_the_time(pipeline: Pipeline) -> None:
    step, clock = Watched(), pipeline.clock
    pipeline.handle(5, from_ms=MIDNIGHT_MS)
    turns = pipeline.turns(step)

    for _ in range(50):  # five seconds
        turns.run(busy=True, caught_up=False)
        clock.s += 0.1
    assert len(step.given) == 5

    turns = pipeline.turns(Slow(clock))
    began_s = clock.s
    turns.run(busy=True, caught_up=False)
    taken = 0
    while clock.s < began_s + 50:
        before_s = clock.s
        turns.run(busy=True, caught_up=False)
        taken += clock.s > before_s
        clock.s += 0.1
    assert taken <= 10


class Slow:
    """A step that takes half a second."""

    def __init__(self, clock: StandingClock) -> None:
        self._clock = clock

    def handle(
        self, store: GroupStore, failures: Sequence[Transition], tallies: Sequence[Tally], *, watermark_ms: int
    ) -> IncidentOutputs:
        del store, failures, tallies, watermark_ms
        self._clock.s += 0.5
        return IncidentOutputs([], [], [])


def test_a_fault_is_told_once_a_minute_and_loses_nothing(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    step = Watched()
    step.fails = KeyError("no-one@example.org")
    pipeline.handle(5, from_ms=MIDNIGHT_MS)
    turns = pipeline.turns(step)

    for _ in range(90):
        assert turns.run(busy=False, caught_up=True) is False
        pipeline.clock.s += 1
    assert incidents_waiting(pipeline.path) == 6
    step.fails = None
    turns.run(busy=False, caught_up=True)

    assert step.given == [(5, 1, NOW_MS - 1_000)]
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == 2
    assert told[0].startswith("incidents: the incident step raised KeyError at test_processor_incidents.py:")
    assert "example.org" not in told[0]


def test_trouble_with_the_file_is_the_processor_s(pipeline: Pipeline) -> None:
    step = Watched()
    step.fails = sqlite3.OperationalError("disk I/O error")
    turns = pipeline.turns(step)
    pipeline.handle(5, from_ms=MIDNIGHT_MS)

    with pytest.raises(sqlite3.OperationalError):
        turns.run(busy=False, caught_up=True)

    assert not pipeline.tables.connection.in_transaction
    pipeline.handle(5, from_ms=MIDNIGHT_MS)
    assert incidents_waiting(pipeline.path) == 12


def test_what_comes_from_the_day_after_tomorrow_is_left_out_and_said(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.handle(1, from_ms=NOW_MS + 48 * 3_600_000)
    pipeline.handle(1, from_ms=NOW_MS)
    turns = pipeline.turns()

    turns.run(busy=False, caught_up=True)

    assert pipeline.rows("SELECT state, count FROM incidents") == [("open", 1)]
    assert incidents_waiting(pipeline.path) == 0
    assert sum("more than a day ahead of the clock" in one.getMessage() for one in caplog.records) == 2


def test_failures_are_found_by_their_index(pipeline: Pipeline) -> None:
    plan = pipeline.rows("EXPLAIN QUERY PLAN SELECT * FROM failures WHERE seq >= 5 ORDER BY seq LIMIT 10")

    assert any("transition_log_failures" in str(row) for row in plan), plan
