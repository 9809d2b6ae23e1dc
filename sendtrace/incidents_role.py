"""`sendtrace sink incidents`: incidents from what Kafka has, with health and metrics on an admin port."""

from __future__ import annotations

from collections.abc import Callable

from schemas.topics import ALERTS
from sendtrace.alerts_publisher import alerts_publisher
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.incident_steps import incident_step
from sendtrace.metrics_incidents import IncidentsCollector
from sendtrace.serving import Serving
from sendtrace.settings import Settings
from sendtrace.sink_serving import run_sink, serving_session
from sendtrace.tables_store import open_incident_tables
from sendtrace.worker_role import GROUP
from sinks.tables.incident_tables import Step
from sinks.tables.kafka_incidents import IncidentsSink


def run(settings: Settings, *, on_ready: Callable[[str], None], notice: Callable[[str], None]) -> int:
    """See `run_sink`. Raises `SettingsError` too for rules of incidents or of classes that cannot be used."""
    step = incident_step(settings)
    serve = lambda: serving(settings, step, notice=notice)  # noqa: E731  named for the line below
    return run_sink(settings, serve, name="incidents", on_ready=on_ready, notice=notice)


def serving(settings: Settings, step: Step, *, notice: Callable[[str], None]) -> Serving:
    """See `serving_session`."""
    brokers, prefix = settings.kafka.bootstrap_servers, settings.kafka.topic_prefix
    sink = IncidentsSink(
        brokers=brokers,
        prefix=prefix,
        group=f"{prefix}{GROUP}",
        step=step,
        open_tables=lambda: open_incident_tables(settings),
        open_publisher=lambda: alerts_publisher(brokers, prefix + ALERTS.name),
        clock=SystemClock(),
    )
    lock = DataPaths(settings.storage.directory).incidents_lock
    return serving_session(settings, sink, IncidentsCollector(sink.stats), lock=lock, notice=notice)
