"""`sendtrace sink tables`: what workers wrote to Kafka into tables, with health and metrics on an admin port."""

from __future__ import annotations

from collections.abc import Callable

from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.metrics_sink import SinkCollector
from sendtrace.serving import Serving
from sendtrace.settings import Settings
from sendtrace.sink_serving import run_sink, serving_session
from sendtrace.tables_store import open_tables_writer, retention_of
from sinks.tables.kafka_sink import KafkaSink


def run(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """See `run_sink`."""
    return run_sink(settings, lambda: serving(settings, notice=notice), name="sink", on_ready=on_ready, notice=notice)


def serving(settings: Settings, *, notice: Callable[[str], None]) -> Serving:
    """See `serving_session`."""
    sink = KafkaSink(
        brokers=settings.kafka.bootstrap_servers,
        prefix=settings.kafka.topic_prefix,
        open_writer=lambda: open_tables_writer(settings),
        retention=lambda: retention_of(settings, SystemClock().now_ms()),
    )
    lock = DataPaths(settings.storage.directory).processor_lock
    return serving_session(settings, sink, SinkCollector(sink.stats), lock=lock, notice=notice)
