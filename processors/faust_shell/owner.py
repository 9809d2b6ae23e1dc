"""One owned raw partition from the moment it is assigned until it is given back.

Opening fences its last writer, recovers its state and finds where its input goes on; then what is
fetched is folded and written, transaction after transaction. Only one transaction is under way; what
arrives meanwhile is the next. Any trouble in writing is raised: the caller ends the process, and
whoever owns the partition next does again what was not committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aiokafka.structs import ConsumerRecord

from processors.faust_shell.fold import SLICE_BYTES, Folder
from processors.faust_shell.outbox import Brokers, Outbox
from processors.faust_shell.raw_records import log_record_of
from processors.faust_shell.recovery import recover
from processors.faust_shell.state_store import RocksStates
from schemas.kafka_outputs import Outputs
from schemas.ports import Clock
from schemas.postback import LogRecord

#: What one transaction takes at most: about two thousand postbacks. Measured: half of it 0.85 of the events a
#: second, twice as much the same.
TRANSACTION_BYTES: Final = 1024 * 1024
#: What may wait to be handled; a partition that has more is not fetched.
_QUEUE_BYTES: Final = 2 * 1024 * 1024
_OVERHEAD_BYTES: Final = 200

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PartitionStats:
    """Counters of one partition since it was opened, for metrics and readiness."""

    events: int = 0
    transactions: int = 0
    dead: int = 0
    recovered: int = 0
    recovery_s: float = 0.0


class FolderOf(Protocol):
    """Makes the `Folder` of an owner's partition, whose next raw offset is known."""

    def __call__(self, owner: Owner, states: RocksStates, put_out: Callable[[Outputs], None]) -> Folder:
        """A folder that reads from `states` and hands its outputs to `put_out`."""
        ...


class Owner:
    """Handles one partition; used by one event loop.

    `next_offset` is the next raw offset to handle: everything before it is committed. `busy_since` is
    the monotonic second since which there is something to do and nothing was done, `None` when idle.
    """

    def __init__(
        self, partition: int, *, brokers: Brokers, states: RocksStates, folder_of: FolderOf, clock: Clock
    ) -> None:
        self.partition = partition
        self.stats = PartitionStats()
        self.next_offset = 0
        self.ready = False
        self.busy_since: float | None = None
        self._brokers = brokers
        self._states = states
        self._folder_of = folder_of
        self._clock = clock
        self._outbox = Outbox(brokers, partition)
        self._waiting: deque[tuple[LogRecord, int]] = deque()
        self._waiting_bytes = 0
        self._expected = 0  # the offset to be fetched next
        self._missing = -1  # the offset that was asked for again
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._suspended = False

    async def run(self) -> None:
        """Open, and handle what comes until cancelled. Raises what ends the process."""
        self._progress(busy=True)
        await self._outbox.open()
        recovered = await recover(
            self._states, self._brokers, self.partition, progressed=lambda: self._progress(busy=True)
        )
        self.stats.recovered, self.stats.recovery_s = recovered.records, recovered.seconds
        self.next_offset = self._expected = recovered.raw_offset or 0
        folder = self._folder_of(self, self._states, self._put_out)
        _log.info(
            "partition %d: recovered %d messages in %.1f s, goes on at raw offset %d",
            *(self.partition, recovered.records, recovered.seconds, self.next_offset),
        )
        self.ready = True
        self._progress(busy=False)
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting and not self._suspended:
                self._idle.clear()
                self._progress(busy=True)
                try:
                    await self._transact(folder)
                finally:
                    self._idle.set()
            self._progress(busy=False)

    def wants(self) -> bool:
        """Whether to fetch for it."""
        return self.ready and not self._suspended and self._waiting_bytes < _QUEUE_BYTES

    def offer(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> int | None:
        """Take what was fetched, if it is what comes next; else returns the offset to fetch from instead."""
        expected = self._expected
        fresh = [record for record in records if record.offset >= expected]
        if not fresh:
            return expected if records and records[-1].offset + 1 < expected else None
        first = fresh[0].offset
        if first > expected and self._missing != expected:
            self._missing = expected
            return expected
        if first > expected:  # asked for again, and still not there
            _log.error(
                "partition %d: %d postbacks from raw offset %d on are gone before they were handled;"
                " retention deleted them",
                self.partition,
                first - expected,
                expected,
            )
        for record in fresh:
            size = len(record.value or b"") + _OVERHEAD_BYTES
            self._waiting.append((log_record_of(record), size))
            self._waiting_bytes += size
        self._expected = fresh[-1].offset + 1
        self._arrived.set()
        return None

    async def suspend(self) -> None:
        """Finish the transaction under way and take up no other; what waits is dropped, to be fetched again."""
        self._suspended = True
        await self._idle.wait()
        self._waiting.clear()
        self._waiting_bytes = 0
        self._expected = self.next_offset

    def resume(self) -> None:
        """The partition is still, or again, this process's."""
        self._suspended = False

    async def close(self) -> None:
        """Give everything back. Nothing may be under way."""
        await self._outbox.close()
        await asyncio.to_thread(self._states.close)

    async def _transact(self, folder: Folder) -> None:
        next_offset, count, total_bytes = self.next_offset, 0, 0
        while self._waiting and total_bytes < TRANSACTION_BYTES and not self._suspended:
            records, size = self._slice()
            next_offset = records[-1].position + 1
            folder.fold(records, next_offset)
            count, total_bytes = count + len(records), total_bytes + size
            await asyncio.sleep(0)  # others of this loop are due too: heartbeats, acknowledgements
        self._outbox.put_tallies(folder.tallies.take())
        status_offset = await self._outbox.commit(next_offset)
        if status_offset is not None:
            self._states.write(folder.pending.states.items(), status_offset)
            folder.pending.states.clear()
        self.next_offset = next_offset
        self.stats.events += count
        self.stats.transactions += 1
        self._progress(busy=bool(self._waiting))

    def _put_out(self, outputs: Outputs) -> None:
        self._outbox.put(outputs)
        self.stats.dead += len(outputs.dead)

    def _slice(self) -> tuple[list[LogRecord], int]:
        records: list[LogRecord] = []
        total_bytes = 0
        while self._waiting and total_bytes < SLICE_BYTES:
            record, size = self._waiting.popleft()
            records.append(record)
            total_bytes += size
        self._waiting_bytes -= total_bytes
        return records, total_bytes

    def _progress(self, *, busy: bool) -> None:
        self.busy_since = self._clock.monotonic_s() if busy else None
