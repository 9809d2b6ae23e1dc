"""Brings the state of a partition up to the end of topic `status`, in bulk, and tells where its input goes on.

To be called after the partition's outbox is open: from then on nobody else can write to either, so the
end that is found is the end. Only committed records count.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from processors.faust_shell.outbox import Brokers
from processors.faust_shell.state_store import RocksStates
from schemas.kafka_outputs import receipts_of
from schemas.topics import RAW, RECEIPTS, STATUS

_FETCH_BYTES: Final = 4 * 1024 * 1024
#: How many offsets before its end the topic of receipts is looked into first, and how much further then.
_LAST_RECEIPTS: Final = 100
_FURTHER: Final = 100
_POLL_MS: Final = 20  # a fetch that holds only markers returns nothing, and moves the position all the same

_log = logging.getLogger(__name__)


class Recovered(NamedTuple):
    """What was read to get there, and the raw offset to go on from; `None`: from the beginning."""

    records: int
    seconds: float
    raw_offset: int | None


async def recover(
    states: RocksStates, brokers: Brokers, partition: int, *, progressed: Callable[[], None]
) -> Recovered:
    """Apply what `states` lacks. `progressed` is called for every fetch. Raises `KafkaError` and `StateError`."""
    started = time.monotonic()
    status = TopicPartition(brokers.topic(STATUS.name), partition)
    raw = TopicPartition(brokers.topic(RAW.name), partition)
    async with _reader(brokers) as consumer:
        consumer.assign([status])
        first = (await consumer.beginning_offsets([status]))[status]
        end = (await consumer.end_offsets([status]))[status]
        if states.position > end:
            _log.warning("partition %d: the state here is of another topic than %s; made anew", partition, status.topic)
            states.clear()
        consumer.seek(status, max(states.position, first))
        records = 0
        while (position := await consumer.position(status)) < end:
            fetched = (await consumer.getmany(status, timeout_ms=_POLL_MS)).get(status, [])
            if fetched:
                latest = {record.key: record.value for record in fetched if record.key is not None}
                states.write(latest.items(), fetched[-1].offset + 1)
                records += len(fetched)
            if fetched or await consumer.position(status) > position:
                progressed()
        if end > states.position:  # transaction markers, and records that were compacted away
            states.write((), end)
        raw_offset = await consumer.committed(raw)
        if raw_offset is None:
            raw_offset = await _told_by_receipts(consumer, TopicPartition(brokers.topic(RECEIPTS.name), partition))
        raw_end = (await consumer.end_offsets([raw]))[raw]
        if raw_offset is not None and raw_offset > raw_end:
            _log.error(
                "partition %d: raw offset %d was handled, and the topic ends at %d: it was made anew, or cut off;"
                " all of it is handled, and what is known folds",
                *(partition, raw_offset - 1, raw_end),
            )
            raw_offset = None
        return Recovered(records, time.monotonic() - started, raw_offset)


async def _told_by_receipts(consumer: AIOKafkaConsumer, receipts: TopicPartition) -> int | None:
    """Where the last receipt says that the input goes on; `None` where nothing was ever handled.

    For a group that the broker has forgotten, as it does when nobody was in it for a week.
    """
    consumer.assign([receipts])
    first = (await consumer.beginning_offsets([receipts]))[receipts]
    end = (await consumer.end_offsets([receipts]))[receipts]
    back = _LAST_RECEIPTS
    while end > first:
        start = max(first, end - back)
        consumer.seek(receipts, start)
        last: bytes | None = None
        while await consumer.position(receipts) < end:
            fetched = (await consumer.getmany(receipts, timeout_ms=_POLL_MS)).get(receipts, [])
            last = fetched[-1].value if fetched else last
        if last is not None:
            return receipts_of(last, partition=receipts.partition)[0]
        if start == first:
            break
        back *= _FURTHER  # markers and aborted transactions only
    return None


@asynccontextmanager
async def _reader(brokers: Brokers) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of its own, no member of the group: only to read, and to ask how far the group is."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=list(brokers.addresses),
        group_id=brokers.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES,
        request_timeout_ms=round(brokers.request_timeout_s * 1000),
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
