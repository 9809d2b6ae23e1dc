"""The private names of aiokafka that we use, each with what we take for granted. A pin moves only with these."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from ingest.kafka_log import end_producer
from tests.kafka.kafka_rig import create_topics
from tests.kafka.local_kafka import LocalKafka


async def test_a_producer_with_a_batch_in_hand_never_stops_and_ends_all_the_same(private_kafka: LocalKafka) -> None:
    await create_topics(private_kafka.address, "t")
    producer = AIOKafkaProducer(
        bootstrap_servers=private_kafka.address, acks="all", enable_idempotence=True, request_timeout_ms=500
    )
    await producer.start()
    await producer.send_and_wait("t", b"1")
    private_kafka.kill()
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"2")
    batch.close()
    delivered = await producer.send_batch(batch, "t", partition=0)

    stopping = asyncio.ensure_future(producer.stop())
    with pytest.raises(TimeoutError):  # when this fails, `end_producer` has become needless
        await asyncio.wait_for(asyncio.shield(stopping), 2)
    assert not delivered.done()
    async with asyncio.timeout(3):
        await end_producer(producer)
        await stopping

    assert producer._sender.sender_task.done()
