"""Changes as the tables sink on Kafka writes them: postbacks of providers, folded by the real processor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.batch import Batch
from schemas.kafka_outputs import raw_position
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import StatusRecord
from schemas.times import hour_of, iso_ms
from sinks.tables.changes import Changes
from tests.integration.read_rig import MIDNIGHT_MS, Sent

NOTHING: Final = Batch([], {}, {}, [], [], [])
NORMALIZER: Final = Normalizer(Classifier.load(None))


class _States(dict[str, StatusRecord]):
    """A `StateStore` in memory."""

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        return {message_id: self[message_id] for message_id in message_ids if message_id in self}


class Stream:
    """One raw partition and its processor. Bodies come 1.8 seconds apart, two thousand an hour."""

    def __init__(self, partition: int = 0, *, normalize: Normalizer = NORMALIZER) -> None:
        self.states = _States()
        self._partition = partition
        self._processor = PartitionProcessor(normalize=normalize, store=self.states)
        self._made = 0
        self._offset = 0
        self._status_offset = 0

    def fold(self, *sent: Sent) -> Changes:
        """What a batch of these changes. Each has a receipt of its own."""
        return self.fold_again([self._received(one) for one in sent])

    def fold_again(self, postbacks: Sequence[Postback]) -> Changes:
        """The same of postbacks as the gateway wrote them; some may have been on the topic before."""
        records = []
        for postback in postbacks:
            records.append(LogRecord(raw_position(self._partition, self._offset), postback))
            self._offset += 1
        batch = self._processor.handle(records)
        self.states.update(batch.states)
        self._status_offset += len(batch.states)
        return Changes(
            batch,
            Counter((postback.source, hour_of(iso_ms(postback.received_ms))) for postback in postbacks),
            {("raw", self._partition): self._offset, ("status", self._partition): self._status_offset},
        )

    def _received(self, sent: Sent) -> Postback:
        number = self._partition * 1_000_000 + self._made
        self._made += 1
        return Postback(
            *(sent.source, sent.provider, KIND_POSTBACK, f"receipt-{number:09d}", MIDNIGHT_MS + self._made * 1_800),
            *(sent.content_type, sent.content_encoding, sent.body),
        )
