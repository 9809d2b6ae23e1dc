"""The topics the incident step reads: `failures` and `tallies`, all partitions, committed records only, no group.

It also knows until when they are complete: what a gateway had received by then has been handled by the
workers, and what they wrote of it has been read. That is handed over, in one piece if need be: workers that
catch up write one raw partition after the other. Nothing less lets a clock say that a source is quiet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import ConsumerRecord

from schemas.codec import RecordError
from schemas.records import Transition
from schemas.tallies import Tally
from schemas.topics import ALERTS, FAILURES, RAW, TALLIES
from sinks.tables.incident_records import failure_of, known_tally_of
from sinks.tables.incident_time import MARGIN_MS, MOST_AHEAD_MS, Lanes, Read
from sinks.tables.kafka_feed import REQUEST_S, Offsets, Reading, open_consumer, partition_counts
from sinks.tables.kafka_session import is_before

READ: Final = (FAILURES.name, TALLIES.name)
#: `alerts` is written by the same role: it says so at once when it is missing.
_NEEDED: Final = (*READ, RAW.name, ALERTS.name)
#: So many records at most, and for so long, are held because older ones are still to come. A worker that stands
#: still must not hold up the incidents of what others handle; what it handles later is counted all the same.
_MOST_WAITING: Final = 10_000
_PATIENCE_S: Final = 10.0
_HEAD_WAIT_MS: Final = 200
_CLIENT: Final = "sendtrace-incidents"
#: The group is new, or its coordinator is moving.
_NOT_NOW: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)

_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What is to be handed over in one step, and where reading goes on after it."""

    failures: list[Transition]
    tallies: list[Tally]
    received_ms: list[int]
    positions: Offsets
    #: All that was received by then has been handed over with this; `None`: nothing new is known of that.
    complete_ms: int | None
    #: Where the topics are read to; what waits to be handed over is before it.
    read_to: Offsets

    @property
    def records(self) -> dict[str, int]:
        """Topic → records."""
        return {FAILURES.name: len(self.failures), TALLIES.name: len(self.tallies)}


class IncidentsFeed:
    """The consumers at the positions of the tables. Used by one task.

    `uncommitted` is only asked for ends, `heads` reads single records of `raw`; `group` is that of the workers.
    """

    def __init__(
        self,
        prefix: str,
        partitions: Mapping[str, int],
        group: str,
        *,
        committed: AIOKafkaConsumer,
        uncommitted: AIOKafkaConsumer,
        heads: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
    ) -> None:
        read = {name: partitions[name] for name in READ}
        self._reading = Reading(committed, prefix, read)
        self._ends = Reading(uncommitted, prefix, read)
        self._raws = Reading(uncommitted, prefix, {RAW.name: partitions[RAW.name]})
        self._uncommitted = uncommitted
        self._heads = heads
        self._group = group
        self._admin = admin
        #: All that was received by then is before these ends, which are still to be read to.
        self._promise: tuple[int, Offsets] | None = None
        self._until_ms = -1
        self._waiting_since_s: float | None = None
        self._lanes: Lanes[Transition | Tally] = Lanes()
        self._most_waiting = _MOST_WAITING // len(self._reading.places)
        self.not_understood = 0
        self.ends: Offsets = {}

    async def seek(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Go to where the tables are. Raises `FeedError`."""
        await self._reading.seek(positions)

    async def fetch(self, *, now_ms: int, wait_ms: int) -> Found:
        """What can be handed over, waiting so long for the first record where none can."""
        full = [place for place in self.ends if self._lanes.waiting(place) > self._most_waiting]
        for place, records in await self._reading.fetch(wait_ms=wait_ms, but=full):
            self._lanes.add(place, self._decoded(place, records, now_ms))
        at = await self._reading.positions()
        complete_ms = self._kept_promise(at)
        behind = [place for place, end in self.ends.items() if at[place] < end]
        taken = self._lanes.take(behind, self._until_ms)
        if not taken and (full or self._has_waited()):
            taken = self._lanes.take(behind)
        self._note_waiting(taken=bool(taken))
        failures = [cast(Transition, one.record) for place, one in taken if place[0] == FAILURES.name]
        tallies = [cast(Tally, one.record) for place, one in taken if place[0] == TALLIES.name]
        positions = {**at, **self._lanes.first_waiting()}
        return Found(failures, tallies, [one.received_ms for _, one in taken], positions, complete_ms, at)

    def _kept_promise(self, at: Offsets) -> int | None:
        if self._promise is None or is_before(at, self._promise[1]):
            return None
        until_ms = self._lanes.complete_until(self._promise[0])
        self._promise = None
        if until_ms <= self._until_ms:
            return None
        self._until_ms = until_ms
        return until_ms

    def _has_waited(self) -> bool:
        since_s = self._waiting_since_s
        return since_s is not None and asyncio.get_running_loop().time() - since_s > _PATIENCE_S

    def _note_waiting(self, *, taken: bool) -> None:
        if taken or not self._lanes.first_waiting():
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = asyncio.get_running_loop().time()

    def _decoded(
        self, place: tuple[str, int], records: Iterable[ConsumerRecord[bytes, bytes]], now_ms: int
    ) -> Iterator[Read[Transition | Tally]]:
        """What is none of ours is named in the log, and left out."""
        decode = failure_of if place[0] == FAILURES.name else known_tally_of
        for record in records:
            try:
                received_ms, found = decode(record.value or b"", latest_ms=now_ms + MOST_AHEAD_MS)
                yield Read(received_ms, record.offset, found)
            except RecordError as error:
                self.not_understood += 1
                _log.error("%s %d@%d is not understood: %s", *place, record.offset, error)

    async def look(self, now_ms: int) -> None:
        """See how far workers and topics are: the brokers are asked. Once a second is enough."""
        if self._promise is None:
            handled_ms = await self._handled_until_ms(now_ms)
            if handled_ms is not None:
                # Open transactions included: one may be visible in the group's offsets and not yet in its topics.
                self._promise = handled_ms, await self._ends.ends()
        self.ends = await self._reading.ends()

    async def _handled_until_ms(self, now_ms: int) -> int | None:
        """Everything a gateway had received by then has been handled by the workers; `None` if that is not known."""
        places = self._raws.places
        ends = await self._raws.ends()
        try:
            committed = await self._admin.list_consumer_group_offsets(self._group, partitions=places)
        except _NOT_NOW:
            return None
        behind = [one for one in places if _offset(committed.get(one)) < ends[self._raws.named(one)]]
        if not behind:
            return now_ms - MARGIN_MS
        begins: dict[TopicPartition, int] = await self._uncommitted.beginning_offsets(behind)
        next_offsets = {one: max(_offset(committed.get(one)), begins[one]) for one in behind}
        left = {one: at for one, at in next_offsets.items() if at < ends[self._raws.named(one)]}
        received = await self._received_ms(left)
        return None if received is None else min(now_ms - MARGIN_MS, *(one - 1 for one in received), now_ms)

    async def _received_ms(self, places: Mapping[TopicPartition, int]) -> list[int] | None:
        """When the raw records there were received; `None` where one cannot be had at once."""
        received: dict[TopicPartition, int] = {}
        self._heads.assign(list(places))
        for place, offset in places.items():
            self._heads.seek(place, offset)
        for _ in places:
            missing = [place for place in places if place not in received]
            if missing:
                for place, records in (await self._heads.getmany(*missing, timeout_ms=_HEAD_WAIT_MS)).items():
                    received.setdefault(place, records[0].timestamp)
        return list(received.values()) if len(received) == len(places) else None


def _offset(committed: object) -> int:
    offset = getattr(committed, "offset", -1)
    return offset if isinstance(offset, int) else -1


@asynccontextmanager
async def incidents_feed(
    brokers: Sequence[str], prefix: str, group: str, positions: Mapping[tuple[str, int], int]
) -> AsyncIterator[IncidentsFeed]:
    """A feed that goes on at `positions`. Raises `FeedError`, `KafkaError`, `OSError`, `TimeoutError`."""
    counts = await partition_counts(brokers, [prefix + name for name in _NEEDED])
    partitions = {name: counts[prefix + name] for name in _NEEDED}
    async with AsyncExitStack() as stack:
        options = {"client_id": _CLIENT, "auto_offset_reset": "none"}
        committed = await open_consumer(stack, brokers, isolation_level="read_committed", **options)
        uncommitted = await open_consumer(stack, brokers, isolation_level="read_uncommitted", **options)
        admin = AIOKafkaAdminClient(
            bootstrap_servers=list(brokers), client_id=_CLIENT, request_timeout_ms=round(REQUEST_S * 1000)
        )
        stack.push_async_callback(admin.close)
        try:
            await admin.start()
        except AssertionError as error:  # the client's way to say that it knows no broker yet
            raise KafkaConnectionError("no broker yet") from error
        heads = await open_consumer(stack, brokers, isolation_level="read_committed", **options)
        found = IncidentsFeed(
            *(prefix, partitions, group), committed=committed, uncommitted=uncommitted, heads=heads, admin=admin
        )
        await found.seek(positions)
        yield found
