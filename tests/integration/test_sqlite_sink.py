"""The SQLite writer of the tables sink, without a broker: everything of a set of changes, or nothing, and once."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from processors.partition import PartitionProcessor
from schemas.batch import Batch
from schemas.event import Rejected
from schemas.kafka_outputs import raw_position
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import StatusRecord
from schemas.rejections import RejectReason
from schemas.times import hour_of, iso_ms
from sinks.tables.changes import Changes
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.sqlite_writer import SqliteTables
from tests.integration.kafka_tables_rig import NORMALIZE, everything, rows
from tests.integration.read_rig import MIDNIGHT_MS, Sent, braze, documented

PARTITION = 3


class Plant:
    """A sink's file, one made by the embedded writer of the same batches, and a processor before both."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tables.db"
        self.expected_path = directory / "expected.db"
        self.sink = SqliteSink(self.path)
        self.expected = SqliteTables(self.expected_path)
        self.offset = 0

    def received(self, *sent: Sent) -> list[Postback]:
        """Postbacks as the gateway writes them, a minute apart."""
        return [
            Postback(
                *(one.source, one.provider, KIND_POSTBACK, f"r{self.offset + number:06d}"),
                *(MIDNIGHT_MS + (self.offset + number) * 60_000, one.content_type, one.content_encoding, one.body),
            )
            for number, one in enumerate(sent)
        ]

    def changes(self, *postbacks: Postback, understood: bool = True) -> Changes:
        """What a worker makes of them, and the sink of that."""
        records = [
            LogRecord(raw_position(PARTITION, offset), one) for offset, one in enumerate(postbacks, start=self.offset)
        ]
        self.offset += len(postbacks)
        normalize = NORMALIZE if understood else (lambda _: Rejected(RejectReason.WRONG_TYPE, "Not to this version."))
        batch = PartitionProcessor(normalize=normalize, store=self.expected).handle(records)
        accepted = Counter((one.source, hour_of(iso_ms(one.received_ms))) for one in postbacks)
        return Changes(batch, accepted, {("raw", PARTITION): self.offset})

    def both(self, *sent: Sent) -> None:
        """Into both files."""
        changes = self.changes(*self.received(*sent))
        self.sink.write_changes(changes)
        self.expected.commit(changes.batch, self.offset)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path)
    with closing(made.sink), closing(made.expected):
        yield made


def audit_of(plant: Plant) -> list[tuple[Any, ...]]:
    return rows(plant.path, "SELECT applied, duplicates, dead, accepted, repeated FROM audit")


def test_it_writes_what_the_embedded_writer_does(plant: Plant) -> None:
    sent = documented()
    for start in range(0, len(sent), 7):
        plant.both(*sent[start : start + 7], sent[0])

    assert everything(plant.path) == everything(plant.expected_path)
    assert plant.sink.positions() == {("raw", PARTITION): plant.offset}
    with closing(SqliteReader(plant.path)) as reader:
        assert reader.audit_rows().raw_positions == {PARTITION: plant.offset}


def test_what_a_batch_speaks_of_may_lie_in_the_tables(plant: Plant) -> None:
    """States run ahead: the same batch in two parts, with another sink's start in between."""
    changes = plant.changes(*plant.received(*documented()))
    plant.sink.write_changes(
        Changes(changes.batch._replace(transitions=[], receipts=[], dead=[], identifiers=[]), {}, {})
    )
    plant.sink.close()
    plant.sink = SqliteSink(plant.path)
    plant.sink.write_changes(changes._replace(batch=changes.batch._replace(states={})))
    plant.expected.commit(changes.batch, plant.offset)

    assert everything(plant.path) == everything(plant.expected_path)


def test_a_body_given_twice_counts_once(plant: Plant) -> None:
    (postback,) = plant.received(braze("d1", "sent"))
    plant.sink.write_changes(plant.changes(postback, postback))
    plant.sink.write_changes(plant.changes(postback))

    assert audit_of(plant) == [(1, 0, 0, 3, 2)]
    assert rows(plant.path, "SELECT position FROM postbacks") == [(raw_position(PARTITION, 0),)]


def test_a_dead_letter_is_settled_once_and_stays_so(plant: Plant) -> None:
    (postback,) = plant.received(braze("d1", "sent"))
    plant.sink.write_changes(plant.changes(postback, understood=False))
    plant.sink.write_changes(plant.changes(postback, understood=False))
    assert audit_of(plant) == [(0, 0, 1, 2, 1)]
    plant.sink.write_changes(plant.changes(postback))
    plant.sink.write_changes(plant.changes(postback, understood=False))

    assert audit_of(plant) == [(1, 0, 0, 4, 3)]
    assert rows(plant.path, "SELECT effect, message_seq FROM postbacks") == [("applied", 1)]
    assert rows(plant.path, "SELECT count(*) FROM dead_letters WHERE retried_at IS NOT NULL") == [(1,)]


def test_dead_and_settled_in_one_set_of_changes(plant: Plant) -> None:
    (postback,) = plant.received(braze("d1", "sent"))
    first, second = plant.changes(postback, understood=False), plant.changes(postback)
    whole = second.batch._replace(dead=first.batch.dead, receipts=[*first.batch.receipts, *second.batch.receipts])
    plant.sink.write_changes(Changes(whole, first.accepted + second.accepted, {}))  # type: ignore[operator]  # Counters

    assert audit_of(plant) == [(1, 0, 0, 2, 1)]
    assert rows(plant.path, "SELECT count(*) FROM dead_letters WHERE retried_at IS NOT NULL") == [(1,)]


def test_a_file_that_fails_in_the_middle_has_nothing_and_takes_the_same_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = plant.changes(*plant.received(*documented()))

    def fails(_changes: Changes) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as failing:
        failing.setattr(plant.sink, "_write_rest", fails)
        with pytest.raises(sqlite3.OperationalError):
            plant.sink.write_changes(changes)
    assert [rows(plant.path, f"SELECT count(*) FROM {table}") for table in ("messages", "postbacks")] == [[(0,)]] * 2  # noqa: S608  names of ours
    plant.sink.write_changes(changes)
    plant.expected.commit(changes.batch, plant.offset)

    assert everything(plant.path) == everything(plant.expected_path)


def test_a_row_that_is_refused_is_set_aside_and_the_others_are_written(plant: Plant) -> None:
    changes = plant.changes(*plant.received(*documented()))
    wrong = {
        "w1": cast(StatusRecord, {}),
        "w2": _with(changes.batch, version="many"),
        "w3": _with(changes.batch, facts=1),
    }
    batch = changes.batch._replace(states={**wrong, **changes.batch.states}, identifiers=[("x", "nobody")])
    plant.sink.write_changes(changes._replace(batch=batch))
    plant.expected.commit(changes.batch._replace(identifiers=[]), plant.offset)

    assert everything(plant.path) == everything(plant.expected_path)
    assert plant.sink.rows_set_aside == 4
    told = rows(plant.path, "SELECT table_name, reason FROM set_aside ORDER BY rowid")
    assert [table for table, _ in told] == ["messages", "messages", "messages", "identifiers"]
    assert told[1][1] == "IntegrityError: cannot store TEXT value in INTEGER column messages.version"
    assert plant.sink.positions() == changes.positions


def _with(batch: Batch, **fields: object) -> StatusRecord:
    """Some state with an identity of its own, and fields of another type."""
    some = next(iter(batch.states.values()))
    return cast(StatusRecord, {**some, "message_id": f"w-{next(iter(fields))}", **fields})
