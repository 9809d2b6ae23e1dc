"""The private names of aiokafka that we use, each with what we take for granted. A pin moves only with these."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer import sender

from ingest.kafka_log import end_producer
from sinks.tables.kafka_feed import end_consumer
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


async def test_a_consumer_whose_broker_is_gone_cancels_who_stops_it_and_ends_all_the_same(
    private_kafka: LocalKafka,
) -> None:
    await create_topics(private_kafka.address, "t")
    first, second = [await consuming(private_kafka.address) for _ in range(2)]
    private_kafka.kill()
    for consumer in (first, second):
        assert consumer._fetcher is not None
        while not any(_is_pausing(task) for task in consumer._fetcher._pending_tasks):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.005)
        if consumer is first:
            stopping = asyncio.ensure_future(consumer.stop())
            await asyncio.wait([stopping])
            assert stopping.cancelled()  # when this fails, `end_consumer` has become needless
            await consumer._client.close()
        else:
            await end_consumer(consumer)

    assert not second._client._conns
    await asyncio.sleep(0.2)


@pytest.mark.parametrize(("already_in", "waited_s"), [([], 0.0123), ([TopicPartition("s", 0)], 0.03)])
async def test_a_transaction_that_comes_too_early_is_begun_again_after_what_the_module_says(
    monkeypatch: pytest.MonkeyPatch, already_in: list[TopicPartition], waited_s: float
) -> None:
    producer = AIOKafkaProducer(transactional_id="t", retry_backoff_ms=30)
    producer._closed = True  # it never started
    producer._txn_manager.txn_partitions.update(already_in)
    handler = sender.AddPartitionsToTxnHandler(producer._sender, {TopicPartition("t", 0)})
    monkeypatch.setattr(sender, "BACKOFF_OVERRIDE", 0.0123)

    assert handler.handle_response(Refusal([("t", [(0, ConcurrentTransactions.errno)])])) == waited_s


class Refusal(NamedTuple):
    """What of a broker's answer is looked at."""

    errors: list[tuple[str, list[tuple[int, int]]]]


def _is_pausing(task: asyncio.Task[object]) -> bool:
    """Whether a fetch has failed and waits before the next."""
    frames = task.get_stack()
    return bool(frames) and frames[0].f_code.co_name == "_proc_fetch_request" and "err" in frames[0].f_locals


async def consuming(address: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, request_timeout_ms=500, retry_backoff_ms=300)
    await consumer.start()
    consumer.assign([TopicPartition("t", 0)])
    await consumer.getmany(timeout_ms=200)
    return consumer
