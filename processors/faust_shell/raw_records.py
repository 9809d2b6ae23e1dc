"""A fetched record of the raw topic as the core takes it."""

from __future__ import annotations

import logging

from aiokafka.structs import ConsumerRecord

from schemas.codec import RecordError
from schemas.kafka_records import postback_of
from schemas.postback import KIND_POSTBACK, LogRecord, Postback

#: The source of a record that somebody else wrote onto the topic; it has no provider, so it becomes a dead letter.
STRANGER = "unknown"

_log = logging.getLogger(__name__)


def log_record_of(record: ConsumerRecord[bytes, bytes]) -> LogRecord:
    """Its position is its offset. A record that no gateway wrote is kept under a receipt id made of its place."""
    try:
        return LogRecord(record.offset, postback_of(record.headers, record.value))
    except RecordError as error:
        _log.error("partition %d, offset %d: no gateway wrote it: %s", record.partition, record.offset, error)
    postback = Postback(
        source=STRANGER,
        provider="",
        kind=KIND_POSTBACK,
        receipt_id=f"raw-{record.partition}-{record.offset}",
        received_ms=max(0, record.timestamp),
        content_type="",
        content_encoding="",
        body=record.value or b"",
    )
    return LogRecord(record.offset, postback)
