"""The incidents sink on Kafka: failures and tallies through the incident step into the tables, changes to `alerts`.

What a step puts out is written in one transaction with how far was read, so nothing is counted twice or left
out. A change is published after it was written and marked after it was acknowledged: at least once, and in order
for one incident. What it decides nothing about: what is an incident, and which of two databases it writes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from typing_extensions import override

from schemas.kafka_alerts import alert_output
from schemas.kafka_outputs import Output
from schemas.ports import Clock
from sinks.tables.incident_step import FEW_GROUPS, StepFaultError, outputs_of
from sinks.tables.incident_tables import IncidentTables, Step
from sinks.tables.incident_time import advanced
from sinks.tables.kafka_feed import Offsets
from sinks.tables.kafka_incidents_feed import READ, Found, IncidentsFeed, incidents_feed
from sinks.tables.kafka_session import MEASURE_PERIOD_S, TABLES_TROUBLE, KafkaSession, SessionStats, is_before

_WAIT_MS: Final = 200
_IDLE_STEP_S: Final = 1.0
_LOOK_FOR_CHANGES_S: Final = 1.0
_PUBLISHED_AT_ONCE: Final = 200
_HOUSEKEEPING_S: Final = 3_600.0


class Publisher(Protocol):
    """The way to a topic."""

    async def publish(self, outputs: Sequence[Output]) -> None:
        """In this order, and acknowledged by all in-sync replicas. Raises `KafkaError`, `TimeoutError`; then some
        may be there."""


@dataclass(slots=True)
class IncidentsStats(SessionStats):
    """The same of the incidents sink. `changes` are those that were new to the tables, `published` those of all."""

    records: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(READ, 0)))
    changes: int = 0
    published: int = 0
    faults: int = 0
    watermark_ms: int = 0


class IncidentsSink(KafkaSession[IncidentTables]):
    """Reads the topics with `prefix` and works on one set of tables (`KafkaSession`). `group` is the workers'."""

    def __init__(
        self,
        *,
        brokers: tuple[str, ...],
        prefix: str,
        group: str,
        step: Step,
        open_tables: Callable[[], IncidentTables],
        open_publisher: Callable[[], AbstractAsyncContextManager[Publisher]],
        clock: Clock,
    ) -> None:
        self.stats = IncidentsStats()
        super().__init__(brokers=brokers, open_tables=open_tables, stats=self.stats)
        self._prefix = prefix
        self._group = group
        self._step = step
        self._open_publisher = open_publisher
        self._clock = clock
        self._due_s: dict[str, float] = {}
        self._seen_ends: Offsets = {}
        self._watermark_ms: int | None = None
        self._not_understood = 0

    @override
    async def _work(self, tables: IncidentTables) -> None:
        positions, self._watermark_ms = await self._in_thread(lambda: (tables.positions(), tables.watermark_ms()))
        async with (
            incidents_feed(self._brokers, self._prefix, self._group, positions) as source,
            self._open_publisher() as alerts,
        ):
            self._due_s, self._seen_ends, self._not_understood = {}, {}, 0
            while True:
                if self._is_due("look", MEASURE_PERIOD_S):
                    await self._look(source)
                found = await source.fetch(now_ms=self._clock.now_ms(), wait_ms=_WAIT_MS)
                changed = await self._take_step(tables, found)
                if changed or self._is_due("changes", _LOOK_FOR_CHANGES_S):
                    await self._publish(tables, alerts)
                if self._is_due("house", _HOUSEKEEPING_S):
                    await self._in_thread(partial(tables.delete_old_changes, published=True))
                self._see(found, source)
                self._progressed()
                self._is_well(len(found.positions))

    async def _look(self, source: IncidentsFeed) -> None:
        self._seen_ends = source.ends
        await source.look(self._clock.now_ms())

    def _see(self, found: Found, source: IncidentsFeed) -> None:
        """How far behind. It has caught up when it is where the topics ended a second ago."""
        self.stats.caught_up = self.stats.caught_up or bool(
            self._seen_ends and not is_before(found.read_to, self._seen_ends)
        )
        self.stats.lag = {place: max(0, end - found.positions[place]) for place, end in source.ends.items()}
        self.stats.not_understood += source.not_understood - self._not_understood
        self._not_understood = source.not_understood

    async def _take_step(self, tables: IncidentTables, found: Found) -> bool:
        """One transaction; whether there are new changes."""
        watermark_ms = advanced(self._watermark_ms, found.received_ms, complete_ms=found.complete_ms)
        self._watermark_ms = watermark_ms
        if watermark_ms is None or not (found.received_ms or self._is_due("step", _IDLE_STEP_S)):
            return False
        try:
            new = await self._in_thread(partial(_one_step, tables, self._step, found, watermark_ms))
        except StepFaultError:
            self.stats.faults += 1
            raise
        self.stats.transactions += bool(found.received_ms)
        self.stats.records.update(found.records)
        self.stats.changes += new
        self.stats.watermark_ms = watermark_ms
        return bool(new)

    async def _publish(self, tables: IncidentTables, alerts: Publisher) -> None:
        while found := await self._in_thread(lambda: tables.unpublished(_PUBLISHED_AT_ONCE)):
            await alerts.publish([alert_output(one.change) for one in found])
            await self._in_thread(partial(tables.mark_published, [one.seq for one in found]))
            self.stats.published += len(found)
            self._progressed()

    def _is_due(self, what: str, period_s: float) -> bool:
        """Whether it is so long ago; then it counts as done."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._due_s.get(what, float("-inf")):
            return False
        self._due_s[what] = now_s + period_s
        return True


def _one_step(tables: IncidentTables, step: Step, found: Found, watermark_ms: int) -> int:
    """What was read, and then what is due, each with its outputs or not at all; how many changes were new."""
    new = 0
    failures, tallies = found.failures, found.tallies
    while True:
        with tables.transaction():
            outputs = outputs_of(step, tables, failures, tallies, watermark_ms=watermark_ms, trouble=TABLES_TROUBLE)
            if failures or tallies or any(outputs):
                new += tables.write(outputs, found.positions, watermark_ms=watermark_ms)
        if len(outputs.groups) < FEW_GROUPS:
            return new
        failures, tallies = [], []
