"""Records of one raw partition into the records to write for them, whatever is wrong with one of them.

What cannot be handled is taken apart until the record at fault stands alone and becomes a dead
letter; after a crash records are taken one by one, and one that ended the process before is put
aside unread. No I/O but the store's reads and the mark of which record is in hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from processors.attempts import MOST_KILLS, Suspicion
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor, SealValue, poison
from processors.tallies import Tallies
from schemas.batch import Batch
from schemas.kafka_outputs import Outputs, outputs_of, state_of
from schemas.ports import StateStore
from schemas.postback import LogRecord
from schemas.records import StatusRecord
from schemas.rejections import RejectReason

#: What is folded in one go: some dozens of postbacks fit into the processor's cache (decision 0002).
SLICE_BYTES: Final = 48 * 1024

KILLED: Final = "handling this body ended the process several times; it was put aside so that others go on"

_log = logging.getLogger(__name__)


class Pending:
    """The store as it will be once what is folded so far is written; a `StateStore`.

    `states` is what is ahead of the store: message id → the value of its last status record.
    """

    __slots__ = ("_store", "states")

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.states: dict[bytes, bytes] = {}

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """See `StateStore`."""
        ahead = self.states
        if not ahead:
            return self._store.get_many(message_ids)
        wanted = {message_id: message_id.encode() for message_id in message_ids}
        found = self._store.get_many(name for name, key in wanted.items() if key not in ahead)
        found.update((name, state_of(ahead[key])) for name, key in wanted.items() if key in ahead)
        return found


class Folder:
    """Folds one partition, and hands on what is to be written as soon as it is known, while it is in the cache.

    `pending` holds the states until the caller has them in the store and clears it; `tallies` collects until the
    caller takes what the transaction is to write. `suspicion` is given
    after a crash, and counts until `suspect_until` is passed.
    """

    def __init__(
        self,
        partition: int,
        *,
        normalize: Normalizer,
        store: StateStore,
        put_out: Callable[[Outputs], None],
        cached_messages: int,
        seal: SealValue | None = None,
        suspicion: Suspicion | None = None,
        suspect_until: int = 0,
    ) -> None:
        self._partition = partition
        self.pending = Pending(store)
        self.tallies = Tallies()
        self._put_out = put_out
        self._processor = PartitionProcessor(
            normalize=normalize, store=self.pending, cached_messages=cached_messages, seal=seal
        )
        self._suspicion = suspicion
        self._suspect_until = suspect_until

    def fold(self, records: Sequence[LogRecord], next_offset: int) -> None:
        """Fold `records`, which end before `next_offset`. Raises only when the store cannot be read."""
        if self._suspicion is not None and records[0].position < self._suspect_until:
            for record, end in _one_by_one(records, next_offset):
                self._fold_suspect(record, end)
        else:
            self._fold(records, next_offset)

    def _fold_suspect(self, record: LogRecord, end: int) -> None:
        suspicion = self._suspicion
        if suspicion is not None and suspicion.take_up(record.position) >= MOST_KILLS:
            _log.error("partition %d, offset %d: %s", self._partition, record.position, KILLED)
            self._add(poison(record, RejectReason.PROCESS_KILLED, KILLED), end)
        else:
            self._fold([record], end)
        if suspicion is not None:
            suspicion.put_down(record.position)

    def _fold(self, records: Sequence[LogRecord], next_offset: int) -> None:
        try:
            self._add(self._processor.handle(records), next_offset)
        except OSError:  # the disk's fault, not the record's
            raise
        except Exception as error:  # noqa: BLE001  whatever a record provokes must not stop the others
            self._processor.forget()
            if len(records) == 1:
                self._add(self._poisoned(records[0], error), next_offset)
            else:
                half = len(records) // 2
                self._fold(records[:half], records[half].position)
                self._fold(records[half:], next_offset)

    def _add(self, batch: Batch, next_offset: int) -> None:
        outputs = outputs_of(batch, partition=self._partition, next_offset=next_offset)
        self.pending.states.update((key or b"", value) for key, value, _ in outputs.status)
        self.tallies.add(batch)
        self._put_out(outputs)

    def _poisoned(self, record: LogRecord, error: Exception) -> Batch:
        # The type alone: an error's text may quote the body.
        name = type(error).__name__
        _log.error("partition %d, offset %d: could not be processed: %s", self._partition, record.position, name)
        return poison(record, RejectReason.PROCESSING_ERROR, f"{name} while the body was processed")


def _one_by_one(records: Sequence[LogRecord], next_offset: int) -> Iterator[tuple[LogRecord, int]]:
    ends = [*(record.position for record in records[1:]), next_offset]
    return zip(records, ends, strict=True)
