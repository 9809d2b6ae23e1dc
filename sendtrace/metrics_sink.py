"""The metrics of `sendtrace sink tables`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from sendtrace import metrics
from sendtrace.metrics import Metric
from sendtrace.metrics_collector import Values, family_of
from sinks.tables.kafka_sink import SinkStats


class SinkCollector(Collector):
    """The metrics of one sink."""

    def __init__(self, stats: SinkStats) -> None:
        self._stats = stats

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        stats = self._stats
        found: list[tuple[Metric, Values]] = [
            (metrics.SINK_TRANSACTIONS, stats.transactions),
            (metrics.SINK_ROWS, dict(stats.rows)),
            (metrics.SINK_LAG, {f"{topic}-{partition}": lag for (topic, partition), lag in stats.lag.items()}),
            (metrics.SINK_NOT_UNDERSTOOD, stats.not_understood),
            (metrics.SINK_SET_ASIDE, stats.set_aside),
            (metrics.SINK_CAUGHT_UP, stats.caught_up),
            (metrics.SINK_TROUBLE, stats.trouble is not None),
        ]
        for metric, values in found:
            yield family_of(metric, values)
