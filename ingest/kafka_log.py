"""The durable raw log on Kafka: a postback is kept once all in-sync replicas acknowledged its batch.

Sent in rounds: one batch of each partition that has any, all of them acknowledged before the next round.
Postbacks that arrive meanwhile ride that one, so that under load batches are large and few.
Starts and serves without a broker (settles `False`), and connects as soon as there is one. Refuses
to queue beyond its bound, to create the topic, and to call anything kept that was not acknowledged:
an idempotent producer with `acks=all`, so a batch it repeats is written once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.kafka_records import headers_of, partition_of
from schemas.ports import Waiter
from schemas.postback import Postback

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
#: What a waiting record takes beside its body, about: the bound need not be exact.
_OVERHEAD_BYTES: Final = 512

_TROUBLE: Final = (KafkaError, OSError, TimeoutError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaLimits:
    """The bounds of a `KafkaLog`.

    `batch_bytes` is what one batch of a partition holds, and must exceed the largest body.
    `pending_bytes` counts bodies not yet acknowledged. A batch that is not acknowledged within
    `request_timeout_s` is settled `False`: senders wait that long for the spool to take over, and hang
    up not much later.
    """

    batch_bytes: int = 768 * 1024
    pending_bytes: int = 64 * 1024 * 1024
    request_timeout_s: float = 3.0


@dataclass(slots=True)
class KafkaStats:
    """Counters since the start, for metrics."""

    batches: int = 0
    records: int = 0
    failed_batches: int = 0
    refused: int = 0


class _Waiting(NamedTuple):
    """A postback on its way to the next batch of its partition."""

    key: bytes | None
    postback: Postback
    waiter: Waiter
    size_bytes: int


class _Lane:
    """One partition, and who waits for its next batch."""

    __slots__ = ("partition", "producer", "waiting")

    def __init__(self, partition: int, producer: AIOKafkaProducer) -> None:
        self.partition = partition
        self.producer = producer
        self.waiting: list[_Waiting] = []


class _Boarded(NamedTuple):
    """A batch under way, and who rides it."""

    lane: _Lane
    riders: list[_Waiting]
    acknowledged: asyncio.Future[object]


class KafkaLog:
    """Keeps postbacks on one topic; a `PostbackLog`. Used by the event loop that called `start`.

    `key_of` names a postback's key; those with the same key are kept in the order of the calls, in
    the partition that `schemas.kafka_records.partition_of` gives.
    """

    def __init__(
        self,
        *,
        brokers: Sequence[str],
        topic: str,
        key_of: Callable[[Postback], str | None],
        limits: KafkaLimits | None = None,
    ) -> None:
        self.stats = KafkaStats()
        self._brokers = list(brokers)
        self._topic = topic
        self._key_of = key_of
        self._limits = limits or KafkaLimits()
        self._lanes: list[_Lane] = []  # none while there is no broker
        self._sending = False
        self._pending_bytes = 0
        self._closing = False
        self._connecting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to connect, on the running event loop, and try for as long as it takes."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def append(self, postback: Postback, waiter: Waiter) -> None:
        """Queue one postback; see `PostbackLog`."""
        size = len(postback.body) + _OVERHEAD_BYTES
        if not self._lanes or self._closing or self._pending_bytes + size > self._limits.pending_bytes:
            self.stats.refused += 1
            waiter.settle(False)
            return
        name = self._key_of(postback)
        key = None if name is None else name.encode()
        self._pending_bytes += size
        lane = self._lanes[partition_of(key, postback.receipt_id, len(self._lanes))]
        lane.waiting.append(_Waiting(key, postback, waiter, size))
        if not self._sending:  # what else arrives in this turn of the loop goes along
            self._sending = True
            self._run(self._send_rounds())

    def can_keep(self) -> bool:
        """Whether the last batch was acknowledged, or a broker found since, and there is room to wait."""
        return bool(self._lanes) and not self._closing and self._pending_bytes < self._limits.pending_bytes

    async def close(self) -> None:
        """Send and settle what is queued, at most as long as that may take, then leave. Later appends fail."""
        if self._closing:
            return
        self._closing = True
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._lanes:
            await end_producer(self._lanes[0].producer)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, pause_s: float = 0.0) -> None:
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            producer = AIOKafkaProducer(
                bootstrap_servers=self._brokers,
                acks="all",
                enable_idempotence=True,
                max_batch_size=self._limits.batch_bytes,
                request_timeout_ms=round(self._limits.request_timeout_s * 1000),
            )
            try:
                async with asyncio.timeout(self._limits.request_timeout_s):
                    await producer.start()
                    partitions = await producer.partitions_for(self._topic)
            except _TROUBLE as error:
                _log.warning("kafka: %s; trying again in %g s", self._told(error), pause_s)
                await end_producer(producer)
            except asyncio.CancelledError:
                await end_producer(producer)
                raise
            else:
                self._lanes = [_Lane(partition, producer) for partition in sorted(partitions)]
                return

    async def _send_rounds(self) -> None:
        """Round after round, until nobody waits."""
        try:
            while waiting := [lane for lane in self._lanes if lane.waiting]:
                await self._send_round(waiting)
        finally:
            self._sending = False

    async def _send_round(self, lanes: Sequence[_Lane]) -> None:
        boarded: list[_Boarded] = []
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                for lane in lanes:
                    batch, riders = self._board(lane)
                    boarded.append(_Boarded(lane, riders, asyncio.get_running_loop().create_future()))
                    acknowledged = await lane.producer.send_batch(batch, self._topic, partition=lane.partition)
                    boarded[-1] = _Boarded(lane, riders, acknowledged)
                await asyncio.wait([each.acknowledged for each in boarded])
        except _TROUBLE as error:
            failure = error
        for lane, riders, acknowledged in boarded:
            trouble = _trouble_of(acknowledged) or (None if acknowledged.done() else failure)
            if trouble is None:
                self.stats.batches += 1
            else:
                failure = trouble
                self.stats.failed_batches += 1
                _log.error("kafka: partition %d: %s", lane.partition, self._told(trouble))
            acknowledged.cancel()  # nobody will ask for it any more, should it fail later
            self._settle(riders, kept=trouble is None)
        if failure is not None:
            self._lose()

    def _board(self, lane: _Lane) -> tuple[BatchBuilder, list[_Waiting]]:
        """The next batch, closed, and who rides it: all that fit, the first one whatever its size."""
        batch = lane.producer.create_batch()
        count = 0
        for rider in lane.waiting:
            told = rider.postback
            if not batch.append(
                timestamp=told.received_ms, key=rider.key, value=told.body, headers=list(headers_of(told))
            ):
                break
            count += 1
        batch.close()
        riders, lane.waiting = lane.waiting[:count], lane.waiting[count:]
        return batch, riders

    def _lose(self) -> None:
        """A batch of the producer failed. Some errors end it for good, so another takes its place."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            self._settle(lane.waiting, kept=False)
            lane.waiting = []
        self._run(end_producer(lanes[0].producer))
        if not self._closing:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(_FIRST_PAUSE_S))

    def _settle(self, riders: Sequence[_Waiting], *, kept: bool) -> None:
        self.stats.records += len(riders) if kept else 0
        for rider in riders:
            self._pending_bytes -= rider.size_bytes
            rider.waiter.settle(kept)

    def _told(self, error: Exception) -> str:
        """The error for a person, without the client's inner words."""
        if isinstance(error, UnknownTopicOrPartitionError):
            return f"the topic {self._topic} does not exist; run `sendtrace topics create`"
        if isinstance(error, MessageSizeTooLargeError):
            return f"the topic {self._topic} takes no batch this large; see `sendtrace topics show`"
        if isinstance(error, TimeoutError):
            return f"{', '.join(self._brokers)}: no answer within {self._limits.request_timeout_s:g} s"
        return f"{', '.join(self._brokers)}: {type(error).__name__}: {error}"


def _trouble_of(acknowledged: asyncio.Future[object]) -> Exception | None:
    """Why a batch was not acknowledged; `None` if it was, or is not known yet."""
    if not acknowledged.done():
        return None
    if acknowledged.cancelled():
        return TimeoutError()
    error = acknowledged.exception()
    if error is not None and not isinstance(error, _TROUBLE):
        raise error
    return error if isinstance(error, Exception) else None


async def end_producer(producer: AIOKafkaProducer) -> None:
    """Stop it, what it has in hand or not.

    Its own `stop` waits until every batch is delivered, and an idempotent one is tried for ever:
    with a broker that is away it never returns. Private names: `tests/contract/test_aiokafka_names.py`.
    """
    producer._closed = True  # noqa: SLF001  or it warns that it was forgotten
    await producer._sender.close()  # noqa: SLF001  ends the requests in flight, each within its own timeout
    await producer.client.close()
