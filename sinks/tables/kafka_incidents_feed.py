"""The topics the incident step reads: `failures` and `tallies`, all partitions, committed records only, no group.

It also says until when they are complete: what a gateway had received by then has been handled by the
workers, and what they wrote of it has been read. Nothing less lets a clock say that a source is quiet.
"""

from __future__ import annotations

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
from sinks.tables.incident_time import MOST_AHEAD_MS, Lanes, Read
from sinks.tables.kafka_feed import REQUEST_S, Offsets, Reading, open_consumer, partition_counts
from sinks.tables.kafka_session import is_before

READ: Final = (FAILURES.name, TALLIES.name)
#: `alerts` is written by the same role: it says so at once when it is missing.
_NEEDED: Final = (*READ, RAW.name, ALERTS.name)
#: So many records at most are held because others that are older are still to be read.
_MOST_WAITING: Final = 10_000
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

    @property
    def records(self) -> dict[str, int]:
        """Topic → records."""
        return {FAILURES.name: len(self.failures), TALLIES.name: len(self.tallies)}


class IncidentsFeed:
    """The consumers at the positions of the tables. Used by one task.

    `uncommitted` is only asked for ends; `group` is that of the workers.
    """

    def __init__(
        self,
        prefix: str,
        partitions: Mapping[str, int],
        group: str,
        *,
        committed: AIOKafkaConsumer,
        uncommitted: AIOKafkaConsumer,
        admin: AIOKafkaAdminClient,
    ) -> None:
        read = {name: partitions[name] for name in READ}
        self._reading = Reading(committed, prefix, read)
        self._ends = Reading(uncommitted, prefix, read)
        self._raws = Reading(uncommitted, prefix, {RAW.name: partitions[RAW.name]})
        self._uncommitted = uncommitted
        self._group = group
        self._admin = admin
        self._received: tuple[int, Offsets] | None = None  # where `raw` ended then
        self._written: tuple[int, Offsets] | None = None  # where the workers had written all of that
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
        taken = self._lanes.take([place for place, end in self.ends.items() if at[place] < end])
        failures = [cast(Transition, one.record) for place, one in taken if place[0] == FAILURES.name]
        tallies = [cast(Tally, one.record) for place, one in taken if place[0] == TALLIES.name]
        return Found(failures, tallies, [one.received_ms for _, one in taken], {**at, **self._lanes.first_waiting()})

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
        """See where the topics end now: the brokers are asked. Once a second is enough."""
        handled = False
        if self._written is None:
            self._received = self._received or (now_ms, await self._raws.ends())
            handled = await self._workers_are_at(self._received[1])
        self.ends = await self._reading.ends()
        if handled and self._received is not None:
            # Open transactions included: one may be visible in the group's offsets and not yet in its topics.
            self._written, self._received = (self._received[0], await self._ends.ends()), None

    def complete_ms(self, at: Offsets) -> int | None:
        """Everything a gateway had received by this time has been read, when reading goes on at `at`; told once."""
        if self._written is None or is_before(at, self._written[1]):
            return None
        complete_ms, self._written = self._written[0], None
        return complete_ms

    async def _workers_are_at(self, ends: Offsets) -> bool:
        places = self._raws.places
        try:
            committed = await self._admin.list_consumer_group_offsets(self._group, partitions=places)
        except _NOT_NOW:
            return False
        behind = [one for one in places if _offset(committed.get(one)) < ends[self._raws.named(one)]]
        if not behind:
            return True
        begins: dict[TopicPartition, int] = await self._uncommitted.beginning_offsets(behind)
        return all(begins[one] >= ends[self._raws.named(one)] for one in behind)


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
        found = IncidentsFeed(prefix, partitions, group, committed=committed, uncommitted=uncommitted, admin=admin)
        await found.seek(positions)
        yield found
