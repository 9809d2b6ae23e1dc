"""What the tables sink on Kafka writes in one transaction, and which of its receipts are news. Pure.

A body may lie on the raw topic twice under one receipt id: a gateway sends again what was not
acknowledged in time, and `sendtrace dead retry` sends what was dead. The tables count a body once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from schemas.batch import Batch, Receipt
from schemas.records import PostbackEffect

#: (topic without its prefix, partition) → offset to read next.
Positions = Mapping[tuple[str, int], int]


class Changes(NamedTuple):
    """One transaction's worth.

    `batch` is what the processor put out; its positions are those of `raw_position`, `keys` is empty, a
    transition or a receipt may be of a message whose state is not among `states` and is in the tables.
    `accepted` counts the records of the raw topic by (source, hour), repeated ones too.
    """

    batch: Batch
    accepted: Mapping[tuple[str, str], int]
    positions: Positions


class Retention(NamedTuple):
    """What is to go: everything received before a time (`schemas.times`), of each table its own."""

    dead_letters_before: str
    transitions_before: str


class Expired(NamedTuple):
    """What went: dead letters, and partitions of `transitions` by name."""

    dead_letters: int
    partitions: list[str]


class TablesWriter(Protocol):
    """The one writer of a set of tables on Kafka. Blocking; used by one thread."""

    @property
    def rows_set_aside(self) -> int:
        """Rows the database refused since the writer was opened."""
        ...

    def positions(self) -> dict[tuple[str, int], int]:
        """Where to read on: everything before it is in the tables."""
        ...

    def write_changes(self, changes: Changes) -> None:
        """Everything of `changes`, or nothing. A row the database refuses is set aside with its reason,
        the others are kept; trouble with the database itself is raised, and the same changes may be
        given again."""
        ...

    def expire(self, retention: Retention) -> Expired:
        """Delete what has had its time. Outside `write_changes`; what cannot go now goes at the next call.

        Transitions go by whole months, and stay in SQLite; counts in `audit` stay.
        """
        ...

    def close(self) -> None:
        """Give the connection back; an unfinished transaction is rolled back."""
        ...


class Sorted(NamedTuple):
    """Receipts by what they are to the tables.

    `new` get a row and are counted; `settled` were dead letters and are applied now, so their row and
    count change; `refused_again` are still dead; `repeated` say nothing new. The last three are each
    one more record on the raw topic than there are bodies.
    """

    new: list[Receipt]
    settled: list[Receipt]
    refused_again: list[Receipt]
    repeated: list[Receipt]


def sort_receipts(receipts: Iterable[Receipt], known: Mapping[str, PostbackEffect]) -> Sorted:
    """`known` has the effect in the tables of every receipt id that is there already."""
    found = Sorted([], [], [], [])
    effects = dict(known)
    for receipt in receipts:
        receipt_id = receipt.record.postback.receipt_id
        before = effects.get(receipt_id)
        if before is None:
            found.new.append(receipt)
        elif before != "dead":
            found.repeated.append(receipt)
            continue
        else:  # to be written after the new ones: its first may be among them
            (found.refused_again if receipt.effect == "dead" else found.settled).append(receipt)
        effects[receipt_id] = receipt.effect
    return found
