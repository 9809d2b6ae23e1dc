"""Fills the catalogue of `sendtrace.metrics` at the moment of a scrape, from numbers counted anyway.

Keeps no number of its own. What cannot be read is left out and said so; a scrape never fails for it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from ingest.counters import Counters
from ingest.file_log import LogStats
from schemas.incidents import SEVERITIES
from schemas.rejections import RejectReason
from sendtrace import metrics
from sendtrace.metrics import Kind, Metric
from sendtrace.notify_reports import NotifyReport
from sendtrace.read_side import ReadSide
from sinks.tables.tables_reader import AuditCount, Handled, IncidentsReader
from sinks.tables.trouble import TablesError

#: Prometheus' text format; every scraper takes it, so nothing is negotiated.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: One number, or one for each value of the metric's label.
Values = float | Mapping[str, float]

_log = logging.getLogger(__name__)


class SendtraceCollector(Collector):
    """All metrics of ours, for one `ReadSide`."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads the disk, so never on an event loop."""
        for metric, values in _read(self._side):
            yield family_of(metric, values)


def registry_of(collector: Collector) -> CollectorRegistry:
    """The metrics of `collector` and those of the process (memory, descriptors, CPU time)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """What `/metrics` answers, of type `CONTENT_TYPE`. Never on an event loop."""
    return generate_latest(registry)


def _read(side: ReadSide) -> Iterator[tuple[Metric, Values]]:
    counters = side.gateway_counters()
    yield from gateway_values(counters)
    yield from _raw_log(side.log_stats())
    yield metrics.LOG_END, side.durable_end()
    yield metrics.CAN_KEEP, side.can_keep()
    yield metrics.PROCESSOR_ALIVE, side.processor_alive()
    yield metrics.PROCESSOR_RESTARTS, side.processor_restarts()
    if side.notifications is not None:
        yield from notification_values(side.notifications())
    try:
        tables = list(_tables(side, counters))
    except (sqlite3.Error, TablesError, OSError) as error:
        _log.error("metrics: tables or raw log cannot be read: %s", error)
        tables = []
    yield metrics.TABLES_READABLE, bool(tables)
    yield from tables


def gateway_values(counters: Counters) -> Iterator[tuple[Metric, Values]]:
    """What the gateway counted."""
    sources = counters.sources
    yield metrics.ACCEPTED, {name: counts.accepted for name, counts in sources.items()}
    yield metrics.ACCEPTED_BYTES, {name: counts.accepted_bytes for name, counts in sources.items()}
    yield metrics.KEPT, {name: counts.kept for name, counts in sources.items()}
    yield metrics.NOT_KEPT, {name: counts.not_kept for name, counts in sources.items()}
    yield metrics.SOURCE_REFUSED, {name: counts.refused for name, counts in sources.items()}
    yield metrics.REFUSED, counters.refused
    yield metrics.DENIED, {denial.value: count for denial, count in counters.denied.items()}
    yield metrics.OPEN_CONNECTIONS, counters.open_connections
    yield metrics.IN_FLIGHT_BYTES, counters.in_flight_bytes
    yield metrics.PARTIAL_BYTES, counters.partial_bytes


def notification_values(report: NotifyReport) -> Iterator[tuple[Metric, Values]]:
    """What the process of notifications said of itself."""
    yield metrics.NOTIFY_DELIVERED, report["delivered"]
    yield metrics.NOTIFY_FAILED, report["failed"]
    yield metrics.NOTIFY_PARKED, report["parked"]
    yield metrics.NOTIFY_WAITING, report["waiting"]
    yield metrics.NOTIFY_TROUBLE, report["trouble"] is not None


def _raw_log(stats: LogStats) -> Iterator[tuple[Metric, Values]]:
    yield metrics.LOG_BATCHES, stats.batches
    yield metrics.LOG_RECORDS, stats.records
    yield metrics.LOG_BYTES, stats.size_bytes
    yield metrics.LOG_FSYNC, stats.fsync_s
    yield metrics.LOG_FAILED, stats.failed_batches
    yield metrics.LOG_REFUSED, stats.refused


def _tables(side: ReadSide, counters: Counters) -> Iterator[tuple[Metric, Values]]:
    """The tables first and the log's end after them, so that a backlog is never negative."""
    handled = side.reader.handled()
    position = handled.position
    end = side.log.end_position()
    yield metrics.PROCESSED, position
    yield metrics.BACKLOG_BYTES, max(0, end - position)
    yield metrics.BACKLOG_RECORDS, sum(side.log.count_from(position, end).values())
    yield from outcome_values(handled, sources=counters.sources)
    yield from incident_values(side.reader)
    yield metrics.INCIDENTS_WAITING, side.incidents_waiting()


def outcome_values(handled: Handled, *, sources: Iterable[str] = ()) -> Iterator[tuple[Metric, Values]]:
    """What became of the postbacks; `sources` are named even where nothing came from them."""
    counts, open_dead = handled.counts, handled.open_dead
    known = [*(AuditCount(name, "", 0, 0, 0) for name in sources), *counts]
    yield metrics.APPLIED, _by_source((count.source, count.applied) for count in known)
    yield metrics.DUPLICATES, _by_source((count.source, count.duplicates) for count in known)
    yield metrics.DEAD, _by_source((count.source, count.dead) for count in known)
    yield metrics.DEAD_OPEN, {**dict.fromkeys(map(str, RejectReason), 0), **open_dead}


def incident_values(reader: IncidentsReader) -> Iterator[tuple[Metric, Values]]:
    """What is open, every severity named."""
    yield metrics.INCIDENTS_OPEN, {**dict.fromkeys(SEVERITIES, 0), **reader.open_incidents()}


def _by_source(counts: Iterator[tuple[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for source, count in counts:
        total[source] = total.get(source, 0) + count
    return total


def family_of(metric: Metric, values: Values) -> Family:
    """One metric as the client library writes it."""
    labels = [metric.label.value] if metric.label else []
    new = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = new(metric.name, metric.help, labels=labels)
    for label, value in values.items() if isinstance(values, Mapping) else [("", values)]:
        family.add_metric([label] if labels else [], value)
    return family
