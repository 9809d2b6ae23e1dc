"""Puts dead letters onto the raw topic again, as the bodies they were: what `sendtrace dead retry` does on Kafka.

A worker handles them like any other record, and the sink sees by their receipt ids that they are no
new bodies. Refuses to call one sent that all in-sync replicas did not acknowledge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer

from ingest.kafka_log import end_producer
from processors.classify import Classifier
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from schemas.kafka_records import headers_of, partition_of
from schemas.ports import Clock
from schemas.postback import Postback
from schemas.topics import RAW
from sendtrace.kafka_topics import BrokerError, largest_record_bytes
from sendtrace.settings import Settings
from sinks.personal.batches import ERASED_DETAIL
from sinks.tables.kafka_feed import KAFKA_TROUBLE, REQUEST_S, partition_counts, told
from sinks.tables.pages import MOST_ITEMS
from sinks.tables.tables_reader import TablesReader

_SEND_S: Final = 10.0
_POLL_S: Final = 0.1
_PATIENCE_S: Final = 60.0


class Tried(NamedTuple):
    """Of the dead letters sent again: applied now, and not handled when time was up."""

    applied: int
    waiting: int


def open_dead(reader: TablesReader, reason: str | None) -> list[str]:
    """The ids of the open dead letters, of this reason or of any, without those whose body was erased."""
    ids: list[str] = []
    cursor = None
    while True:
        page = reader.dead(reason=reason, open_only=True, limit=MOST_ITEMS, cursor=cursor)
        ids += [letter["dead_id"] for letter in page.items if letter["detail"] != ERASED_DETAIL]
        cursor = page.next_cursor
        if cursor is None:
            return ids


def retry_on_kafka(settings: Settings, reader: TablesReader, dead_ids: Sequence[str], *, clock: Clock) -> Tried:
    """Send them, and wait until the tables have what became of them, at most a minute.

    Raises `BrokerError` when they cannot be sent; those before were, and are handled.
    """
    if not settings.kafka.bootstrap_servers:
        raise BrokerError("kafka.bootstrap_servers is empty: a dead letter is retried through the raw topic; set it")
    postbacks = (reader.dead_postback(dead_id) for dead_id in dead_ids)
    places = send_again(settings, (postback for postback in postbacks if postback is not None))
    give_up_s = clock.monotonic_s() + _PATIENCE_S
    while (waiting := _waiting(reader, places)) and clock.monotonic_s() < give_up_s:
        time.sleep(_POLL_S)
    letters = (reader.dead_one(dead_id) for dead_id in dead_ids)
    return Tried(sum(letter is not None and letter["retried_at"] is not None for letter in letters), waiting)


def _waiting(reader: TablesReader, places: Sequence[tuple[int, int]]) -> int:
    handled = reader.audit_rows().raw_positions
    return sum(offset >= handled.get(partition, 0) for partition, offset in places)


def send_again(settings: Settings, postbacks: Iterable[Postback]) -> list[tuple[int, int]]:
    """Where each of them lies now: (partition, offset). Raises `BrokerError`; then some may be sent."""
    try:
        return asyncio.run(_send(settings, postbacks))
    except KAFKA_TROUBLE as error:
        names = settings.kafka.bootstrap_servers
        raise BrokerError(f"dead letters cannot be sent again: {told(names, error)}") from error


async def _send(settings: Settings, postbacks: Iterable[Postback]) -> list[tuple[int, int]]:
    brokers, topic = settings.kafka.bootstrap_servers, settings.kafka.topic_prefix + RAW.name
    partitions = (await partition_counts(brokers, [topic]))[topic]
    key_of = KeyFinder(Normalizer(Classifier.load(None)))  # as the gateway finds it
    producer = AIOKafkaProducer(
        bootstrap_servers=list(brokers),
        acks="all",
        enable_idempotence=True,
        max_request_size=largest_record_bytes(settings.gateway.limits.body_bytes),
        request_timeout_ms=round(REQUEST_S * 1000),
    )
    try:
        async with asyncio.timeout(REQUEST_S):
            await producer.start()
        return [await _send_one(producer, topic, partitions, key_of(one), one) for one in postbacks]
    finally:
        await end_producer(producer)


async def _send_one(
    producer: AIOKafkaProducer, topic: str, partitions: int, name: str | None, postback: Postback
) -> tuple[int, int]:
    key = None if name is None else name.encode()
    async with asyncio.timeout(_SEND_S):
        sent = await producer.send_and_wait(
            topic,
            postback.body,
            key=key,
            partition=partition_of(key, postback.receipt_id, partitions),
            timestamp_ms=postback.received_ms,
            headers=headers_of(postback),
        )
    return sent.partition, sent.offset
