"""The metrics of `sendtrace sink incidents`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from sendtrace import metrics
from sendtrace.metrics import Metric
from sendtrace.metrics_collector import Values, family_of
from sinks.tables.kafka_incidents import IncidentsStats


class IncidentsCollector(Collector):
    """The metrics of one role."""

    def __init__(self, stats: IncidentsStats) -> None:
        self._stats = stats

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        stats = self._stats
        found: list[tuple[Metric, Values]] = [
            (metrics.INCIDENTS_TRANSACTIONS, stats.transactions),
            (metrics.INCIDENTS_RECORDS, dict(stats.records)),
            (metrics.INCIDENTS_CHANGES, stats.changes),
            (metrics.INCIDENTS_PUBLISHED, stats.published),
            (metrics.INCIDENTS_NOT_UNDERSTOOD, stats.not_understood),
            (metrics.INCIDENTS_FAULTS, stats.faults),
            (metrics.INCIDENTS_LAG, {f"{topic}-{partition}": lag for (topic, partition), lag in stats.lag.items()}),
            (metrics.INCIDENTS_EVENT_TIME, stats.watermark_ms / 1000),
            (metrics.INCIDENTS_CAUGHT_UP, stats.caught_up),
            (metrics.INCIDENTS_TROUBLE, stats.trouble is not None),
        ]
        for metric, values in found:
            yield family_of(metric, values)
