"""The tables in SQLite as the sink on Kafka writes them: a set of changes with its positions, or nothing.

The caller holds the data directory's lock, so nobody else writes the file. What SQLite refuses
because of the row itself is set aside with the reason; trouble with the file is `sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import orjson
from typing_extensions import override

from schemas.batch import Batch, DeadLetter, Receipt
from schemas.personal import Digests
from schemas.postback import LogRecord
from schemas.records import PostbackEffect
from schemas.times import hour_of
from sinks.tables.changes import Changes, Expired, Retention, Sorted, sort_receipts
from sinks.tables.sqlite_writer import SqliteTables

_IDS_PER_QUERY: Final = 500
_NOTHING: Final = Batch([], {}, {}, [], [], [])
#: What a row can be at fault for; anything else is the file's or the machine's trouble.
_ROW_FAULTS: Final = (
    *(sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(KeyError, TypeError, ValueError, OverflowError, AttributeError),
)

#: A receipt is looked up by its id; the embedded pipeline never does, and does without the index.
_RECEIPT_INDEX: Final = "CREATE UNIQUE INDEX IF NOT EXISTS postbacks_by_receipt_id ON postbacks (receipt_id)"
_NOW: Final = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_SET_AT: Final = "INSERT OR REPLACE INTO positions (topic, partition, next_offset) VALUES (?, ?, ?)"
_COUNT: Final = (
    "INSERT INTO audit (source, hour, applied, duplicates, dead, accepted, repeated) VALUES (?, ?, 0, 0, 0, ?, ?) "
    "ON CONFLICT (source, hour) DO UPDATE SET accepted = accepted + excluded.accepted, "
    "repeated = repeated + excluded.repeated"
)
_REFUSE_AGAIN: Final = (
    "UPDATE dead_letters SET stage = ?, reason = ?, detail = ?, retry_requested_at = NULL "
    "WHERE dead_id = ? AND retried_at IS NULL"
)
#: A dead letter may come after the receipt that says what a retry made of it: its topic is another.
_SETTLED_BEFORE: Final = (
    "UPDATE dead_letters SET retried_at = ? WHERE dead_id = ? AND retried_at IS NULL "
    "AND EXISTS (SELECT 1 FROM postbacks WHERE receipt_id = dead_id AND effect <> 'dead')"
)


class SqliteSink(SqliteTables):
    """A `TablesWriter`. Used by one thread; opens as `SqliteTables` does and raises what that raises."""

    def __init__(self, path: Path, digests: Digests | None = None) -> None:
        super().__init__(path, digests)
        self._db.execute(_RECEIPT_INDEX)
        self._rows_set_aside = 0

    @property
    def rows_set_aside(self) -> int:
        """See `TablesWriter`."""
        return self._rows_set_aside

    def positions(self) -> dict[tuple[str, int], int]:
        """See `TablesWriter`."""
        rows = self._db.execute("SELECT topic, partition, next_offset FROM positions")
        return {(topic, partition): next_offset for topic, partition, next_offset in rows}

    def write_changes(self, changes: Changes) -> None:
        """See `TablesWriter`."""
        try:
            with self.transaction():
                self._write_rows(changes.batch)
                self._write_rest(changes)
        except _ROW_FAULTS:
            self.forget()
            self._write_apart(changes)
        except BaseException:
            self.forget()
            raise

    def expire(self, retention: Retention) -> Expired:
        """See `TablesWriter`."""
        return Expired(self.delete_dead_before(retention.dead_letters_before), [])

    def _write_apart(self, changes: Changes) -> None:
        """Row by row, so that those at fault stand alone."""
        refused = 0
        try:
            with self.transaction():
                for table, row, batch in _apart(self.held(changes.batch)):
                    self._db.execute("SAVEPOINT one_row")
                    try:
                        self._write_rows(batch)
                    except _ROW_FAULTS as error:
                        self.forget()
                        self._db.execute("ROLLBACK TO one_row")
                        self._set_aside(table, row, error)
                        refused += 1
                    self._db.execute("RELEASE one_row")
                self._write_rest(changes)
        except BaseException:
            self.forget()
            raise
        self._rows_set_aside += refused

    def _write_rows(self, batch: Batch) -> None:
        batch = self.held(batch)
        found = sort_receipts(batch.receipts, self._effects(batch.receipts))
        new_dead, dead_again = self._sort_dead(batch.dead)
        new = batch._replace(receipts=found.new, dead=new_dead)
        self.write_speaking_of(_others(new), new)
        now: str = self._db.execute(_NOW).fetchone()[0]
        for dead in dead_again:
            self._refuse_again(dead)
        for receipt in found.settled:
            self.settle(receipt._replace(record=self._first_record(receipt)), now)
        self._db.executemany(_SETTLED_BEFORE, [(now, dead.record.postback.receipt_id) for dead in new_dead])
        self._db.executemany(_COUNT, _repeats(found))

    def _write_rest(self, changes: Changes) -> None:
        self._db.executemany(_COUNT, [(*key, count, 0) for key, count in changes.accepted.items()])
        self._db.executemany(_SET_AT, [(*place, next_offset) for place, next_offset in changes.positions.items()])

    def _effects(self, receipts: Sequence[Receipt]) -> dict[str, PostbackEffect]:
        ids = [receipt.record.postback.receipt_id for receipt in receipts]
        found: dict[str, PostbackEffect] = {}
        for chunk, marks in _chunks(ids):
            select = f"SELECT receipt_id, effect FROM postbacks WHERE receipt_id IN ({marks})"  # noqa: S608  only marks
            found.update(self._db.execute(select, chunk).fetchall())
        return found

    def _sort_dead(self, letters: Sequence[DeadLetter]) -> tuple[list[DeadLetter], list[DeadLetter]]:
        """Those without a row, and those that were refused before."""
        known: set[str] = set()
        for chunk, marks in _chunks([dead.record.postback.receipt_id for dead in letters]):
            select = f"SELECT dead_id FROM dead_letters WHERE dead_id IN ({marks})"  # noqa: S608  only marks
            known.update(row[0] for row in self._db.execute(select, chunk))
        new: list[DeadLetter] = []
        again: list[DeadLetter] = []
        for dead in letters:
            dead_id = dead.record.postback.receipt_id
            (again if dead_id in known else new).append(dead)
            known.add(dead_id)
        return new, again

    def _first_record(self, receipt: Receipt) -> LogRecord:
        """The record with the position of its row: a body's first place on the raw topic."""
        postback = receipt.record.postback
        row = self._db.execute("SELECT position FROM postbacks WHERE receipt_id = ?", (postback.receipt_id,)).fetchone()
        return LogRecord(row[0], postback)

    @override
    def _refuse_again(self, dead: DeadLetter) -> None:
        rejected = dead.rejected
        values = (dead.stage, rejected.reason.value, rejected.detail, dead.record.postback.receipt_id)
        self._db.execute(_REFUSE_AGAIN, values)

    def _set_aside(self, table: str, row: object, error: Exception) -> None:
        self._db.execute(
            "INSERT INTO set_aside (table_name, reason, record, set_aside_at) "
            "VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
            (table, f"{type(error).__name__}: {error}", orjson.dumps(row, default=_plain).decode()),
        )


def _chunks(ids: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        chunk = ids[start : start + _IDS_PER_QUERY]
        yield chunk, ", ".join("?" * len(chunk))


def _others(batch: Batch) -> list[str]:
    """The messages a batch speaks of without their state, in order of first mention."""
    spoken: Iterable[str | None] = (
        *(transition["message_id"] for transition in batch.transitions),
        *(receipt.message_id for receipt in batch.receipts),
        *(message_id for _, message_id in batch.identifiers),
    )
    return [name for name in dict.fromkeys(spoken) if name is not None and name not in batch.states]


def _repeats(found: Sorted) -> list[tuple[object, ...]]:
    repeats = (*found.settled, *found.refused_again, *found.repeated)
    counts = Counter((receipt.record.postback.source, hour_of(receipt.received_at)) for receipt in repeats)
    return [(*key, 0, count) for key, count in counts.items()]


def _apart(batch: Batch) -> Iterator[tuple[str, object, Batch]]:
    """Each row with the table it is for, as a batch of its own, in the order in which they must be written."""
    for message_id, state in batch.states.items():
        yield "messages", state, _NOTHING._replace(states={message_id: state})
    for transition in batch.transitions:
        yield "transitions", transition, _NOTHING._replace(transitions=[transition])
    for pair in batch.identifiers:
        yield "identifiers", pair, _NOTHING._replace(identifiers=[pair])
    for row in batch.personal:
        yield "personal_data", row, _NOTHING._replace(personal=[row])
    for dead in batch.dead:
        yield "dead_letters", dead, _NOTHING._replace(dead=[dead])
    for receipt in batch.receipts:
        yield "postbacks", receipt, _NOTHING._replace(receipts=[receipt])


def _plain(value: object) -> object:
    """What JSON has no form for."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return list(value) if isinstance(value, tuple) else str(value)
