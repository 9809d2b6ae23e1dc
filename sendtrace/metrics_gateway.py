"""The metrics of `sendtrace gateway`; apart, so that nobody else needs the Kafka client for his own."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from ingest.gateway import Gateway
from ingest.kafka_log import KafkaLog
from ingest.spooled_log import SpooledLog
from sendtrace import metrics
from sendtrace.metrics import Metric
from sendtrace.metrics_collector import Values, family_of, gateway_values


class GatewayCollector(Collector):
    """The metrics of a gateway on Kafka."""

    def __init__(self, gateway: Gateway, front: KafkaLog, log: SpooledLog) -> None:
        self._gateway = gateway
        self._front = front
        self._log = log

    @override
    def collect(self) -> Iterator[Family]:
        """For one scrape. Reads numbers only."""
        front, spool = self._front.stats, self._log.stats
        found: list[tuple[Metric, Values]] = [
            *gateway_values(self._gateway.counters),
            (metrics.CAN_KEEP, self._gateway.can_keep()),
            (metrics.KAFKA_BATCHES, front.batches),
            (metrics.KAFKA_RECORDS, front.records),
            (metrics.KAFKA_FAILED, front.failed_batches),
            (metrics.KAFKA_CAN_KEEP, self._front.can_keep()),
            (metrics.SPOOLED, spool.spooled),
            (metrics.SPOOL_DRAINED, spool.drained),
            (metrics.SPOOL_FULL, spool.full),
            (metrics.SPOOL_BYTES, self._log.waiting_bytes),
        ]
        for metric, values in found:
            yield family_of(metric, values)
