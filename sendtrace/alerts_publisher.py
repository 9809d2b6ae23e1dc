"""Puts records onto topic `alerts`, each acknowledged by all in-sync replicas, in order for one key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaProducer

from ingest.kafka_log import end_producer
from schemas.kafka_outputs import MOST_VALUE_BYTES, Output
from sinks.tables.kafka_feed import REQUEST_S

_SEND_S: Final = 15.0
_HEADERS_BYTES: Final = 64 * 1024


class AlertsPublisher:
    """A `Publisher` (`sinks.tables.kafka_incidents`) on an idempotent producer: a retry of its own makes no repeat."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def publish(self, outputs: Sequence[Output]) -> None:
        """See `Publisher`."""
        async with asyncio.timeout(_SEND_S):
            sent = [
                await self._producer.send(self._topic, value=one.value, key=one.key, headers=one.headers)
                for one in outputs
            ]
            await asyncio.gather(*sent)


@asynccontextmanager
async def alerts_publisher(brokers: Sequence[str], topic: str) -> AsyncIterator[AlertsPublisher]:
    """Connected. Raises `KafkaError`, `OSError`, `TimeoutError`."""
    producer = AIOKafkaProducer(
        bootstrap_servers=list(brokers),
        client_id="sendtrace-incidents",
        acks="all",
        enable_idempotence=True,
        max_request_size=MOST_VALUE_BYTES + _HEADERS_BYTES,
        request_timeout_ms=round(REQUEST_S * 1000),
    )
    try:
        async with asyncio.timeout(REQUEST_S):
            await producer.start()
        yield AlertsPublisher(producer, topic)
    finally:
        await end_producer(producer)
