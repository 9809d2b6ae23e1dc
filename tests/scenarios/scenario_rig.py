"""Real bodies through the real reader, lifecycle and tables; what a person would then look up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlencode

import orjson

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.batch import Batch
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import MessageStatus, message_status
from sinks.tables.sqlite_writer import SqliteTables

START_MS = 1_795_248_000_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

FORM = "application/x-www-form-urlencoded"
NORMALIZE = Normalizer(Classifier.load(None))


class Sent(NamedTuple):
    """One request to one of the two sources, `after_ms` the one before it."""

    source: Literal["braze", "nrs360"]
    body: bytes
    content_type: str = ""
    after_ms: int = 1_000


def braze(status: str, **metadata: str) -> Sent:
    """A Braze postback of dispatch `d1`; metadata as given."""
    body = {"dispatch_id": "d1", "status": status, "metadata": {"external_send_id": "order-1", **metadata}}
    return Sent("braze", orjson.dumps(body), "application/json")


def nrs360(event: str, content_type: str = FORM, **fields: str) -> Sent:
    """A 360NRS notification of message `n1`, as its vendor's sample sends it."""
    form = {"id": "n1", "channel": "mailing", "contactId": "7", "campaignId": "0", "campaignName": "", "event": event}
    return Sent("nrs360", urlencode({**form, **fields}).encode(), content_type)


@dataclass
class Pipeline:
    """A processor on its tables, handed one request at a time."""

    directory: Path
    tables: SqliteTables = field(init=False)
    batches: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tables = SqliteTables(self.directory / "tables.db")
        self.processor = PartitionProcessor(normalize=NORMALIZE, store=self.tables)
        self.now_ms = START_MS

    def receive(self, *requests: Sent) -> None:
        """Handle requests in the order given, each in a batch of its own."""
        for request in requests:
            self.now_ms += request.after_ms
            position = len(self.batches)
            postback = Postback(
                *(request.source, request.source, KIND_POSTBACK, f"r{position}", self.now_ms),
                *(request.content_type, "", request.body),
            )
            batch = self.processor.handle([LogRecord(position, postback)])
            self.tables.commit(batch, position + 1)
            self.batches.append(batch)

    @property
    def messages(self) -> list[MessageStatus]:
        """Every message, from the tables, oldest first."""
        ids = dict.fromkeys(identity for batch in self.batches for identity in batch.states)
        found = self.tables.get_many(ids)
        return [message_status(found[identity]) for identity in ids]

    @property
    def message(self) -> MessageStatus:
        """The only message there is."""
        (message,) = self.messages
        return message

    @property
    def effects(self) -> list[str]:
        """What each request did on arrival."""
        return [receipt.effect for batch in self.batches for receipt in batch.receipts]
