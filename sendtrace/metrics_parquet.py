"""The metrics of `sendtrace sink parquet`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from sendtrace import metrics
from sendtrace.metrics import Metric
from sendtrace.metrics_collector import Values, family_of
from sinks.parquet.sink import SinkState


class ParquetCollector(Collector):
    """The metrics of one sink."""

    def __init__(self, state: SinkState) -> None:
        self._state = state

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        state = self._state
        found: list[tuple[Metric, Values]] = [
            (metrics.PARQUET_ROWS, state.written.rows),
            (metrics.PARQUET_FILES, state.written.files),
            (metrics.PARQUET_FILE_BYTES, state.written.bytes),
            (metrics.PARQUET_WAITING, state.waiting_rows),
            (metrics.PARQUET_CAUGHT_UP, state.caught_up),
            (metrics.PARQUET_TROUBLE, state.trouble is not None),
        ]
        for metric, values in found:
            yield family_of(metric, values)
