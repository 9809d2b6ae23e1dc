"""The embedded driver of the incident step: its turns between the batches of the processor, in the same process.

A turn is a transaction of its own, with how far it has read. While the pipeline is busy it has at most a
tenth of the time, and once a second at most. It decides nothing about incidents. A fault in the step is told
and tried again; the pipeline goes on.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

from processors.classify import Classifier
from processors.incidents.rules import IncidentRule
from processors.incidents.step import IncidentStep
from schemas.ports import Clock
from schemas.records import Transition
from schemas.tallies import Tally
from schemas.times import epoch_ms
from sinks.tables.incident_step import FEW_GROUPS, outputs_of
from sinks.tables.incident_tables import Step
from sinks.tables.incident_time import MARGIN_MS, MOST_AHEAD_MS, Lanes, Read, advanced
from sinks.tables.sqlite_incidents import FAILURES_AT, TALLIES_AT, EmbeddedIncidents, Queued
from sinks.tables.sqlite_writer import SqliteTables

MOST_FAILURES: Final = 5_000
MOST_TALLIES: Final = 2_000
_PERIOD_S: Final = 1.0
_SHARE: Final = 9  # so many times as long for the pipeline, while it is busy
_HOUSEKEEPING_S: Final = 3_600.0
_FAULT_TOLD_S: Final = 60.0
#: The disk's trouble, which is the processor's as well: it pauses and goes on.
_STORE_TROUBLE: Final = (sqlite3.OperationalError, OSError)

_log = logging.getLogger(__name__)


class IncidentTurns:
    """Used by one thread, which writes the tables."""

    def __init__(self, tables: EmbeddedIncidents, step: Step, clock: Clock) -> None:
        self._tables = tables
        self._step = step
        self._clock = clock
        self._watermark_ms = tables.watermark_ms()
        self._ended_s = float("-inf")
        self._took_s = 0.0
        self._more = False
        self._tell_again_s = float("-inf")
        self._clean_s = float("-inf")

    def run(self, *, busy: bool, caught_up: bool) -> bool:
        """Take a turn if it is time for one; whether there is more to do at once.

        `busy`: the pipeline has work. `caught_up`: everything durable in the raw log has been handled. Raises
        `sqlite3.OperationalError` and `OSError`; then nothing was written.
        """
        began_s = self._clock.monotonic_s()
        pause_s = max(_PERIOD_S, _SHARE * self._took_s) if busy else (0.0 if self._more else _PERIOD_S)
        if began_s - self._ended_s < pause_s:
            return self._more and not busy
        self._more = False
        try:
            self._more = self._turn(caught_up=caught_up)
            if not busy and began_s >= self._clean_s:
                self._clean_s = began_s + _HOUSEKEEPING_S
                self._tables.delete_old_changes(published=False)
        except _STORE_TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001  a fault there must not stop the pipeline
            self._tell(error, began_s)
        finally:
            self._ended_s = self._clock.monotonic_s()
            self._took_s = self._ended_s - began_s
        return self._more and not busy

    def _turn(self, *, caught_up: bool) -> bool:
        """One transaction; whether there is more."""
        tables, now_ms = self._tables, self._clock.now_ms()
        queued = tables.queued(MOST_FAILURES, MOST_TALLIES)
        given = _given(queued, now_ms + MOST_AHEAD_MS)
        complete_ms = now_ms - MARGIN_MS if caught_up and not given.more else None
        watermark_ms = advanced(self._watermark_ms, given.received_ms, complete_ms=complete_ms)
        if watermark_ms is None:
            return given.more
        with tables.transaction():
            outputs = outputs_of(
                *(self._step, tables, given.failures, given.tallies),
                watermark_ms=watermark_ms,
                trouble=_STORE_TROUBLE,
            )
            if queued.failures or queued.tallies or any(outputs):
                tables.write_turn(outputs, given.next_failure, given.next_tally, watermark_ms=watermark_ms)
        self._watermark_ms = watermark_ms
        return given.more or len(outputs.groups) >= FEW_GROUPS

    def _tell(self, error: Exception, now_s: float) -> None:
        if now_s >= self._tell_again_s:
            self._tell_again_s = now_s + _FAULT_TOLD_S
            _log.error("incidents: %s; trying again until it goes", error)


class Given(NamedTuple):
    """What one turn hands over, and where the next begins."""

    failures: list[Transition]
    tallies: list[Tally]
    received_ms: list[int]
    next_failure: int
    next_tally: int
    more: bool


def _given(queued: Queued, latest_ms: int) -> Given:
    """So much that neither runs ahead of the other. What was received after `latest_ms` is passed over."""
    lanes: Lanes[Transition | Tally] = Lanes()
    lanes.add(FAILURES_AT, _reads(((seq, one["received_at"], one) for seq, one in queued.failures), latest_ms))
    lanes.add(TALLIES_AT, _reads(((seq, one["last_received_at"], one) for seq, one in queued.tallies), latest_ms))
    full = {FAILURES_AT: len(queued.failures) >= MOST_FAILURES, TALLIES_AT: len(queued.tallies) >= MOST_TALLIES}
    taken = lanes.take([place for place, is_full in full.items() if is_full])
    waiting = lanes.first_waiting()
    return Given(
        [cast(Transition, one.record) for place, one in taken if place == FAILURES_AT],
        [cast(Tally, one.record) for place, one in taken if place == TALLIES_AT],
        [one.received_ms for _, one in taken],
        waiting.get(FAILURES_AT, queued.next_failure),
        waiting.get(TALLIES_AT, queued.next_tally),
        any(full.values()),
    )


def _reads(found: Iterable[tuple[int, str, Transition | Tally]], latest_ms: int) -> Iterator[Read[Transition | Tally]]:
    for seq, received_at, record in found:
        received_ms = epoch_ms(received_at)
        if received_ms <= latest_ms:
            yield Read(received_ms, seq, record)
        else:
            _log.error(
                "incidents: a record received at %s, more than a day ahead of the clock, is left out", received_at
            )


def incident_turns(
    tables: SqliteTables, *, rules: Sequence[IncidentRule], classes: Path | None, clock: Clock
) -> IncidentTurns:
    """For the processor of one data directory. `classes` is the file of rules of classes. Raises `RulesError`."""
    step = IncidentStep(rules, Classifier.load(classes).catalogue)
    return IncidentTurns(EmbeddedIncidents(tables.connection), step, clock)
