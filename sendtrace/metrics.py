"""Every metric of ours in one catalogue: name, kind, what its label is, and what it means.

A name says its unit and nothing of a request ever becomes a name or a label: labels are configured
sources and words from our own tables, so that no sender can make series. What fills the catalogue is
`sendtrace.metrics_collector`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """What may happen to a number between two scrapes."""

    COUNTER = "counter"  # only grows, from 0 at the start of the process or of the data
    GAUGE = "gauge"


class Label(StrEnum):
    """The labels there are, each with a closed set of values."""

    SOURCE = "source"  # the configured sources
    SEVERITY = "severity"  # `schemas.incidents.SEVERITIES`
    REASON = "reason"  # `ingest.answers.ANSWERS`, or `schemas.rejections.RejectReason` for dead letters
    CAUSE = "cause"  # `ingest.auth.Denial`
    PARTITION = "partition"  # numbers of a topic's partitions
    TOPIC = "topic"  # `schemas.topics`
    TARGET = "target"  # the configured targets of notifications
    PLACE = "topic_partition"  # a topic of ours and the number of one of its partitions


class Metric(NamedTuple):
    """One row of the catalogue. `label` is `None` for a single number."""

    name: str
    kind: Kind
    label: Label | None
    help: str


def _counter(name: str, label: Label | None, help_text: str) -> Metric:
    return Metric(f"sendtrace_{name}_total", Kind.COUNTER, label, help_text)


def _gauge(name: str, label: Label | None, help_text: str) -> Metric:
    return Metric(f"sendtrace_{name}", Kind.GAUGE, label, help_text)


# The gateway, since this process started.
ACCEPTED: Final = _counter("postbacks_accepted", Label.SOURCE, "Requests taken in: authenticated and within limits.")
ACCEPTED_BYTES: Final = _counter("postbacks_accepted_bytes", Label.SOURCE, "Bytes of the bodies of those.")
KEPT: Final = _counter("postbacks_kept", Label.SOURCE, "Requests answered 200: their bodies were durable before.")
NOT_KEPT: Final = _counter("postbacks_not_kept", Label.SOURCE, "Requests taken in, then answered 503.")
SOURCE_REFUSED: Final = _counter("postbacks_refused", Label.SOURCE, "Refusals after the sender had proved itself.")
REFUSED: Final = _counter("requests_refused", Label.REASON, "Requests answered with anything but 200, by answer.")
DENIED: Final = _counter("requests_denied", Label.CAUSE, "Why answers were 404; the sender is not told.")
OPEN_CONNECTIONS: Final = _gauge("open_connections", None, "Connections open on the gateway's port.")
IN_FLIGHT_BYTES: Final = _gauge("in_flight_bytes", None, "Bytes taken in and not yet durable.")
PARTIAL_BYTES: Final = _gauge("partial_bytes", None, "Bytes received of requests that are not complete.")

# The raw log, since this process started.
LOG_BATCHES: Final = _counter("log_batches", None, "Batches written to the raw log, one fsync each.")
LOG_RECORDS: Final = _counter("log_records", None, "Postbacks in those batches.")
LOG_BYTES: Final = _counter("log_bytes", None, "Bytes of those batches on disk.")
LOG_FSYNC: Final = _counter("log_fsync_seconds", None, "Seconds spent in fsync, in all.")
LOG_FAILED: Final = _counter("log_failed_batches", None, "Batches the disk did not take; their senders got 503.")
LOG_REFUSED: Final = _counter("log_refused", None, "Postbacks the raw log had no room to queue.")
LOG_END: Final = _gauge("log_end_position_bytes", None, "Where the durable raw log ends.")
CAN_KEEP: Final = _gauge("can_keep", None, "1 if a postback could be kept now, else 0; the same as /readyz.")

# The log on Kafka and the spool behind it (`sendtrace gateway`), since this process started.
KAFKA_BATCHES: Final = _counter("kafka_batches", None, "Batches all in-sync replicas acknowledged.")
KAFKA_RECORDS: Final = _counter("kafka_records", None, "Postbacks in those batches.")
KAFKA_FAILED: Final = _counter("kafka_failed_batches", None, "Batches not acknowledged; they went to the spool.")
KAFKA_CAN_KEEP: Final = _gauge("kafka_can_keep", None, "1 if the last batch was acknowledged, else 0.")
SPOOLED: Final = _counter("spooled", None, "Postbacks kept in the spool because Kafka would not take them.")
SPOOL_DRAINED: Final = _counter("spool_drained", None, "Postbacks sent from the spool to Kafka.")
SPOOL_FULL: Final = _counter("spool_full", None, "Postbacks the spool had no room for; their senders got 503.")
SPOOL_BYTES: Final = _gauge("spool_waiting_bytes", None, "Bytes in the spool that are not with Kafka yet.")

# The processes of `sendtrace worker`; a partition's counters since it was given to its process.
WORKER_READY: Final = _gauge("worker_processes_ready", None, "Processes that have their partitions and get work done.")
WORKER_RESTARTS: Final = _counter("worker_restarts", None, "Times a process was started again after it ended.")
WORKER_PARTITIONS: Final = _gauge("worker_partitions", None, "Partitions of the raw topic this worker has.")
WORKER_EVENTS: Final = _counter("worker_postbacks", Label.PARTITION, "Postbacks handled and committed.")
WORKER_DEAD: Final = _counter("worker_dead", Label.PARTITION, "Postbacks of those that became dead letters.")
WORKER_TRANSACTIONS: Final = _counter("worker_transactions", Label.PARTITION, "Kafka transactions committed.")
WORKER_LAG: Final = _gauge("worker_lag_records", Label.PARTITION, "Postbacks on the raw topic not handled yet.")

# `sendtrace sink tables`, since this process started.
SINK_TRANSACTIONS: Final = _counter("sink_transactions", None, "Transactions the tables took.")
SINK_ROWS: Final = _counter("sink_rows", Label.TOPIC, "Rows those wrote, by the topic they came from.")
SINK_LAG: Final = _gauge("sink_lag_records", Label.PLACE, "Offsets that are not in the tables yet.")
SINK_NOT_UNDERSTOOD: Final = _counter("sink_not_understood", None, "Records that are none of ours; the log names each.")
SINK_SET_ASIDE: Final = _counter("sink_rows_set_aside", None, "Rows the database refused; table set_aside has them.")
SINK_CAUGHT_UP: Final = _gauge("sink_caught_up", None, "1 once everything there was at the start is in the tables.")
SINK_TROUBLE: Final = _gauge("sink_trouble", None, "1 while Kafka or the database keeps it from work, else 0.")

# `sendtrace sink incidents`, since this process started.
INCIDENTS_TRANSACTIONS: Final = _counter("incidents_transactions", None, "Transactions with records the tables took.")
INCIDENTS_RECORDS: Final = _counter("incidents_records", Label.TOPIC, "Records those were made of, by their topic.")
INCIDENTS_CHANGES: Final = _counter("incidents_changes", None, "Changes of incidents that were new to the tables.")
INCIDENTS_PUBLISHED: Final = _counter("incidents_published", None, "Changes that were put onto topic alerts.")
INCIDENTS_NOT_UNDERSTOOD: Final = _counter(
    "incidents_not_understood", None, "Records that are none of ours; the log names each."
)
INCIDENTS_FAULTS: Final = _counter("incidents_faults", None, "Times the step failed by a fault of its own.")
INCIDENTS_LAG: Final = _gauge("incidents_lag_records", Label.PLACE, "Offsets that incidents do not have yet.")
INCIDENTS_EVENT_TIME: Final = _gauge("incidents_event_time_seconds", None, "How far event time is, as Unix time.")
INCIDENTS_CAUGHT_UP: Final = _gauge("incidents_caught_up", None, "1 once it had read all there was at the start.")
INCIDENTS_TROUBLE: Final = _gauge("incidents_trouble", None, "1 while Kafka or the database keeps it from work.")

# `sendtrace sink parquet`, since this process started.
PARQUET_ROWS: Final = _counter("parquet_rows", None, "Transitions in files that have their names.")
PARQUET_FILES: Final = _counter("parquet_files", None, "Files closed and named, those of all datasets.")
PARQUET_FILE_BYTES: Final = _counter("parquet_file_bytes", None, "Bytes of those files.")
PARQUET_WAITING: Final = _gauge("parquet_waiting_rows", None, "Transitions in the tables that are in no file yet.")
PARQUET_CAUGHT_UP: Final = _gauge("parquet_caught_up", None, "1 once less was waiting than one roll takes.")
PARQUET_TROUBLE: Final = _gauge("parquet_trouble", None, "1 while the tables or the place keep it from work, else 0.")

# Notifications (`sendtrace up` with targets, `sendtrace sink notifications`), since their process started.
NOTIFY_DELIVERED: Final = _counter("notifications_delivered", Label.TARGET, "Messages a target took.")
NOTIFY_FAILED: Final = _counter("notifications_failed", Label.TARGET, "Attempts that a target did not take.")
NOTIFY_PARKED: Final = _counter("notifications_parked", Label.TARGET, "Messages given up; the tables have the reason.")
NOTIFY_WAITING: Final = _gauge("notifications_waiting_changes", Label.TARGET, "Changes that are not told yet.")
NOTIFY_TROUBLE: Final = _gauge("notifications_trouble", None, "1 while the database keeps it from work, else 0.")

# The processor and its tables, since the data began.
PROCESSED: Final = _gauge("processed_position_bytes", None, "Everything before it in the raw log is in the tables.")
BACKLOG_BYTES: Final = _gauge("backlog_bytes", None, "Bytes of the raw log that are not in the tables yet.")
BACKLOG_RECORDS: Final = _gauge("backlog_records", None, "Postbacks kept that are not in the tables yet.")
APPLIED: Final = _counter("postbacks_applied", Label.SOURCE, "Postbacks that told something new.")
DUPLICATES: Final = _counter("postbacks_duplicate", Label.SOURCE, "Postbacks that repeated what was known.")
DEAD: Final = _gauge(
    "postbacks_dead", Label.SOURCE, "Postbacks not understood; a retry that is understood takes one off."
)
DEAD_OPEN: Final = _gauge(
    "dead_letters_open", Label.REASON, "Dead letters that can be retried, within their retention."
)
INCIDENTS_OPEN: Final = _gauge("incidents_open", Label.SEVERITY, "Incidents that are open.")
INCIDENTS_WAITING: Final = _gauge(
    "incidents_waiting_records", None, "Failures and tallies that incidents do not have yet; a fault lets it grow."
)
PROCESSOR_ALIVE: Final = _gauge("processor_alive", None, "1 while the processor runs, else 0.")
PROCESSOR_RESTARTS: Final = _counter(
    "processor_restarts", None, "Restarts of the processor since this process started."
)
TABLES_READABLE: Final = _gauge(
    "tables_readable", None, "0 if tables or log could not be read for this scrape: what is read from them is missing."
)

GATEWAY: Final = (
    *(ACCEPTED, ACCEPTED_BYTES, KEPT, NOT_KEPT, SOURCE_REFUSED, REFUSED, DENIED),
    *(OPEN_CONNECTIONS, IN_FLIGHT_BYTES, PARTIAL_BYTES, CAN_KEEP),
)

#: What `sendtrace up` tells.
CATALOGUE: Final = (
    *GATEWAY,
    *(LOG_BATCHES, LOG_RECORDS, LOG_BYTES, LOG_FSYNC, LOG_FAILED, LOG_REFUSED, LOG_END),
    *(PROCESSED, BACKLOG_BYTES, BACKLOG_RECORDS, APPLIED, DUPLICATES, DEAD, DEAD_OPEN, INCIDENTS_OPEN),
    *(INCIDENTS_WAITING, PROCESSOR_ALIVE, PROCESSOR_RESTARTS, TABLES_READABLE),
)

#: What `sendtrace gateway` tells.
ON_KAFKA: Final = (
    *GATEWAY,
    *(KAFKA_BATCHES, KAFKA_RECORDS, KAFKA_FAILED, KAFKA_CAN_KEEP),
    *(SPOOLED, SPOOL_DRAINED, SPOOL_FULL, SPOOL_BYTES),
)

#: What `sendtrace worker` tells.
WORKER: Final = (
    *(WORKER_READY, WORKER_RESTARTS, WORKER_PARTITIONS),
    *(WORKER_EVENTS, WORKER_DEAD, WORKER_TRANSACTIONS, WORKER_LAG),
)

#: What `sendtrace sink tables` tells.
SINK: Final = (
    *(SINK_TRANSACTIONS, SINK_ROWS, SINK_LAG, SINK_NOT_UNDERSTOOD, SINK_SET_ASIDE),
    *(SINK_CAUGHT_UP, SINK_TROUBLE),
)

#: What `sendtrace sink notifications` tells, and `sendtrace up` besides where it has targets.
NOTIFICATIONS: Final = (NOTIFY_DELIVERED, NOTIFY_FAILED, NOTIFY_PARKED, NOTIFY_WAITING, NOTIFY_TROUBLE)

#: What `sendtrace sink incidents` tells.
INCIDENTS: Final = (
    *(INCIDENTS_TRANSACTIONS, INCIDENTS_RECORDS, INCIDENTS_CHANGES, INCIDENTS_PUBLISHED),
    *(INCIDENTS_NOT_UNDERSTOOD, INCIDENTS_FAULTS, INCIDENTS_LAG, INCIDENTS_EVENT_TIME),
    *(INCIDENTS_CAUGHT_UP, INCIDENTS_TROUBLE),
)

#: What `sendtrace sink parquet` tells.
PARQUET: Final = (
    *(PARQUET_ROWS, PARQUET_FILES, PARQUET_FILE_BYTES),
    *(PARQUET_WAITING, PARQUET_CAUGHT_UP, PARQUET_TROUBLE),
)
