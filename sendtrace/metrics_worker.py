"""The metrics of `sendtrace worker`, from what its processes say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from sendtrace import metrics
from sendtrace.metrics import Metric
from sendtrace.metrics_collector import Values, family_of
from sendtrace.worker_child import WorkerChild
from sendtrace.worker_reports import PartitionReport


class WorkerCollector(Collector):
    """The metrics of a worker's processes. A partition's counters begin anew when it is given to another process."""

    def __init__(self, children: Sequence[WorkerChild]) -> None:
        self._children = children

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        partitions: dict[str, PartitionReport] = {}
        for child in self._children:
            partitions.update((child.report or {"partitions": {}})["partitions"])
        found: list[tuple[Metric, Values]] = [
            (metrics.WORKER_READY, sum(child.ready() for child in self._children)),
            (metrics.WORKER_RESTARTS, sum(child.restarts for child in self._children)),
            (metrics.WORKER_PARTITIONS, len(partitions)),
            (metrics.WORKER_EVENTS, {name: each["events"] for name, each in partitions.items()}),
            (metrics.WORKER_DEAD, {name: each["dead"] for name, each in partitions.items()}),
            (metrics.WORKER_TRANSACTIONS, {name: each["transactions"] for name, each in partitions.items()}),
            (metrics.WORKER_LAG, {name: _lag(each) for name, each in partitions.items()}),
        ]
        for metric, values in found:
            yield family_of(metric, values)


def _lag(partition: PartitionReport) -> int:
    end = partition["end_offset"]
    return 0 if end is None else max(0, end - partition["next_offset"])
