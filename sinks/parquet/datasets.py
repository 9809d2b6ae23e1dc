"""The datasets and their columns: what is exported of each table, as what type, and in which file a row belongs.

A row belongs to the day and the source of its file's directory; the column `source` is there and not in the
file. Refuses to be clever about types: a column has one, in every file, and a change of one is another `SCHEMA`.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cached_property
from typing import Final, NamedTuple

import pyarrow as pa

#: Number of the columns' version, in each file's metadata. Adding a column at the end keeps it.
SCHEMA: Final = 1
#: Column of the directory.
SOURCE: Final = "source"


class Kind(Enum):
    """What a column holds."""

    TEXT = auto()
    WORD = auto()  # a text of which there are few: dictionary-encoded
    NUMBER = auto()
    TRUTH = auto()
    TIME = auto()
    FACTS = auto()  # JSON in the tables
    SAMPLES = auto()  # JSON in the tables
    BYTES = auto()


TIME: Final = pa.timestamp("ms", tz="UTC")
FACT: Final = pa.struct(
    [
        *[pa.field(name, pa.string()) for name in ("fact_id", "status", "provider_status")],
        *[pa.field(name, TIME) for name in ("provider_time", "received_at")],
        *[pa.field(name, pa.string()) for name in ("reason", "class", "effect")],
        pa.field("duplicates", pa.int64()),
    ]
)
SAMPLE: Final = pa.struct(
    [
        pa.field("message_id", pa.string()),
        pa.field("receipt_id", pa.string()),
        pa.field("received_at", TIME),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
_TYPES: Final[dict[Kind, pa.DataType]] = {
    Kind.TEXT: pa.string(),
    Kind.WORD: pa.string(),
    Kind.NUMBER: pa.int64(),
    Kind.TRUTH: pa.bool_(),
    Kind.TIME: TIME,
    Kind.FACTS: pa.list_(pa.field("element", FACT)),
    Kind.SAMPLES: pa.list_(pa.field("element", SAMPLE)),
    Kind.BYTES: pa.binary(),
}


class Dataset(NamedTuple):
    """One table as files.

    `key`: the column that orders and identifies its rows. `day`: the time whose day and hour a row is filed
    under; it never changes. `changed`: the times that say when a row was last written; the first is `day` where
    rows do not change. `columns`: kind by name, in the order of the files, `source` among them where it is none
    of the directory's.
    """

    name: str
    key: str
    day: str
    changed: tuple[str, ...]
    columns: dict[str, Kind]


class Layout:
    """What follows from a dataset's columns for its files."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @cached_property
    def read(self) -> pa.Schema:
        """Of the rows as they are read: with `source`."""
        return pa.schema([pa.field(name, _TYPES[kind]) for name, kind in self.dataset.columns.items()])

    @cached_property
    def file(self) -> pa.Schema:
        """Of the files: without `source` where the directory has it, and with what they are in the metadata."""
        about = {"sendtrace.dataset": self.dataset.name, "sendtrace.schema": str(SCHEMA)}
        fields = [field for field in self.read if field.name != SOURCE or not self.dataset.day]
        return pa.schema(fields, metadata=about)

    @cached_property
    def words(self) -> list[str]:
        """Columns to encode with a dictionary."""
        return [name for name, kind in self.dataset.columns.items() if kind is Kind.WORD and name in self.file.names]


def _columns(text: str) -> dict[str, Kind]:
    """`name` is a text, `name:w` a word, `:n` a number, `:b` a truth, `:t` a time."""
    kinds = {"w": Kind.WORD, "n": Kind.NUMBER, "b": Kind.TRUTH, "t": Kind.TIME, "": Kind.TEXT}
    return {name: kinds[kind] for name, _, kind in (word.partition(":") for word in text.split())}


TRANSITIONS: Final = Dataset(
    "transitions",
    key="seq",
    day="received_at",
    changed=("received_at",),
    columns=_columns(
        "seq:n transition_id kind:w message_id source:w provider:w channel:w dispatch_id external_send_id reference "
        "campaign_id:w from_status:w status:w outcome:w provider_status:w provider_time:t received_at:t reason:w "
        "bounce_class:w conflict:b receipt_id version:n"
    ),
)
MESSAGES: Final = Dataset(
    "messages",
    key="seq",
    day="first_received_at",
    changed=("last_received_at",),
    columns=_columns(
        "seq:n message_id source:w provider:w channel:w dispatch_id external_send_id reference campaign_id:w status:w "
        "outcome:w conflict:b overdue:b reason:w bounce_class:w first_received_at:t last_received_at:t requested_at:t "
        "sent_at:t processed_at:t delivered_at:t failed_at:t"
    )
    | {"facts": Kind.FACTS, "duplicates": Kind.NUMBER, "version": Kind.NUMBER},
)
DEAD_LETTERS: Final = Dataset(
    "dead_letters",
    key="position",
    day="received_at",
    changed=("received_at", "retry_requested_at", "retried_at"),
    columns=_columns(
        "position:n dead_id source:w provider:w stage:w reason:w detail:w receipt_id received_at:t content_type:w "
        "content_encoding:w"
    )
    | {"body": Kind.BYTES}
    | _columns("retry_requested_at:t retried_at:t"),
)
#: One file, the whole table: they are few, they change, and one may be about more than one source.
INCIDENTS: Final = Dataset(
    "incidents",
    key="incident_id",
    day="",
    changed=(),
    columns=_columns(
        "incident_id rule:w kind:w severity:w state:w source:w provider:w campaign_id:w class:w domain:w count:n "
        "total:n first_seen:t last_seen:t opened_at:t resolved_at:t title advice"
    )
    | {"samples": Kind.SAMPLES}
    | _columns("acknowledged_at:t silenced_until:t closed_by_hand_at:t"),
)
DATASETS: Final = {dataset.name: dataset for dataset in (TRANSITIONS, MESSAGES, DEAD_LETTERS, INCIDENTS)}
LAYOUTS: Final = {name: Layout(dataset) for name, dataset in DATASETS.items()}
