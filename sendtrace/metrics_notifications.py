"""The metrics of notifications, of `sendtrace sink notifications`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from sendtrace.metrics_collector import family_of, notification_values
from sendtrace.notify_reports import NotifyReport


class NotificationsCollector(Collector):
    """The metrics of one process of notifications."""

    def __init__(self, report: Callable[[], NotifyReport]) -> None:
        self._report = report

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        for metric, values in notification_values(self._report()):
            yield family_of(metric, values)
