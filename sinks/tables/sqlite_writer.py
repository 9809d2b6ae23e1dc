"""The tables and the state of the embedded pipeline in one SQLite file, written a batch at a time.

Everything a batch changed and how far it got lie in one transaction, so a crash leaves either all
of it or none. `synchronous=NORMAL` may roll whole batches back after a power cut; the raw log is
fsynced and they are simply folded again.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, cast

import orjson

from schemas.batch import Batch, DeadLetter, Receipt
from schemas.personal import Digests, Erased, Value
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import Fact, PostbackEffect, StatusRecord, Transition
from schemas.tallies import Tally
from schemas.times import epoch_ms, hour_of
from sinks.personal.batches import held_to
from sinks.personal.held import HeldList
from sinks.tables.migrations import load, migrate
from sinks.tables.sqlite_personal import add_erasures, erasures, forget_messages, last_erasure, put_personal
from sinks.tables.sqlite_turns import transaction

MIGRATIONS_PACKAGE: Final = "sinks.tables.sqlite_migrations"
_IDS_PER_QUERY: Final = 500
_BUSY_TIMEOUT_S: Final = 30.0
#: About 64 MiB each. Measured beside the defaults (2 MiB, 4 MiB): a quarter less CPU time a commit,
#: because a page that many batches touch is written back once for all of them.
_CACHE_KIB: Final = 65_536
_WAL_PAGES_PER_CHECKPOINT: Final = 16_000
_NUMBERS_KEPT: Final = 100_000
_NEW: Final = 0  # in place of the number of a message that has no row yet

#: Who a message is: written once.
_IDENTITY: Final = ("message_id", "source", "provider", "dispatch_id", "external_send_id")
_AS_JSON: Final = ("facts", "repeated_until")
_CHANGING: Final = tuple(name for name in StatusRecord.__annotations__ if name not in {*_IDENTITY, *_AS_JSON})
STATE_COLUMNS: Final = (*_IDENTITY, *_CHANGING, *_AS_JSON)
_identity_values = itemgetter(*_IDENTITY)
_changing_values = itemgetter(*_CHANGING)
#: In the order of the view `facts`, whose column `bounce_class` is the record's `class`.
_FACT: Final = (
    *("fact_id", "status", "provider_status", "provider_time", "received_at", "reason", "class", "effect"),
    "duplicates",
)
_fact_values = itemgetter(*_FACT)

_TRANSITION: Final = (
    *("kind", "from_status", "status", "outcome", "provider_status", "provider_time", "received_at", "reason"),
    *("bounce_class", "conflict", "receipt_id", "version"),
)
_transition_values = itemgetter(*_TRANSITION)


def _insert(table: str, *columns: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - our names


_INSERT_STATE: Final = _insert("messages", *STATE_COLUMNS, "seq")
#: Not an upsert: that looks into every unique index first. And an index whose columns are not named is left alone.
_UPDATE_STATE: Final = (
    f"UPDATE messages SET {', '.join(f'{name} = ?' for name in (*_CHANGING, *_AS_JSON))} WHERE seq = ?"  # noqa: S608 - our names
)
_INSERT_TRANSITION: Final = _insert("transition_log", "message_seq", "fact_id", *_TRANSITION)
_INSERT_POSTBACK: Final = _insert(
    "postbacks", "position", "receipt_id", "message_seq", "received_at", "content_type", "effect", "flags"
)
_INSERT_DEAD: Final = _insert(
    "dead_letters",
    *("position", "dead_id", "source", "provider", "stage", "reason", "detail", "receipt_id", "received_at"),
    *("content_type", "content_encoding", "body"),
)
_NOW: Final = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_COUNT: Final = (
    "INSERT INTO audit (source, hour, applied, duplicates, dead) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (source, hour) DO UPDATE SET applied = applied + excluded.applied, "
    "duplicates = duplicates + excluded.duplicates, dead = dead + excluded.dead"
)
_COUNT_COLUMNS: Final[dict[PostbackEffect, tuple[int, int, int]]] = {
    "applied": (1, 0, 0),
    "duplicate": (0, 1, 0),
    "dead": (0, 0, 1),
}


class SqliteTables:
    """The one writer of the tables file, and the `StateStore` of the embedded processor.

    Used by one thread. Creates the file and brings its schema up to date; raises `MigrationError`
    when it cannot, `sqlite3.Error` when the disk fails. With `digests` whatever is written is held to the
    list of what was erased; without, writing beside such a list raises `ErasureKeyError`.
    """

    def __init__(self, path: Path, digests: Digests | None = None) -> None:
        self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, cached_statements=64)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_PER_CHECKPOINT}")
        migrate(self._db, load(MIGRATIONS_PACKAGE))
        self._numbers: dict[str, int] = {}
        self._last_number: int | None = None
        self._digests = digests
        self._held = HeldList(digests)

    @property
    def connection(self) -> sqlite3.Connection:
        """For what else writes the file in this thread: a second connection would empty this one's cache each time."""
        return self._db

    def close(self) -> None:
        """Close the file; an unfinished transaction is rolled back."""
        self._db.close()

    def position(self, partition: int = 0) -> int:
        """Where to read on: every record before it is in the tables."""
        row = self._db.execute("SELECT position FROM progress WHERE partition = ?", (partition,)).fetchone()
        return cast(int, row[0]) if row else 0

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The states that exist, by message id (`schemas.ports.StateStore`)."""
        wanted = list(message_ids)
        found: dict[str, StatusRecord] = {}
        for start in range(0, len(wanted), _IDS_PER_QUERY):
            chunk = wanted[start : start + _IDS_PER_QUERY]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT seq, {', '.join(STATE_COLUMNS)} FROM messages WHERE message_id IN ({marks})"  # noqa: S608 (marks)
            for number, *row in self._db.execute(query, chunk):
                state = state_of(row)
                found[state["message_id"]] = state
                self._numbers[state["message_id"]] = number
        for message_id in wanted:
            if message_id not in found:
                self._numbers[message_id] = _NEW
        return found

    def forget(self) -> None:
        """Drop what was remembered beside the file, after a batch that was not written."""
        self._numbers.clear()
        self._last_number = None
        self._held = HeldList(self._digests)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside, or nothing."""
        with transaction(self._db):
            yield

    def commit(self, batch: Batch, position: int, partition: int = 0, *, tallies: Iterable[Tally] = ()) -> None:
        """Write everything a batch changed, its tallies, and that the log is handled up to `position`."""
        with self.transaction():
            self.write(batch)
            self.write_tallies(tallies)
            self.write_position(position, partition)

    def write(self, batch: Batch) -> None:
        """Everything a batch changed. Inside a transaction, with `write_position` at its end."""
        self.write_speaking_of((), batch)

    def write_speaking_of(self, others: Iterable[str], batch: Batch) -> None:
        """The same where it speaks of messages whose states it has not; one without a row raises `KeyError`."""
        batch = self.held(batch)
        numbers = self._write_outputs(batch, others)
        self._db.executemany(_INSERT_POSTBACK, [_postback_row(receipt, numbers) for receipt in batch.receipts])
        self._db.executemany(_INSERT_DEAD, map(_dead_row, batch.dead))
        self._db.executemany(_COUNT, _counts(batch.receipts))

    def held(self, batch: Batch) -> Batch:
        """The batch without anything that was erased. Inside the transaction that writes it: the list is of now."""
        redactor = self._held.redactor(last_erasure(self._db), lambda: erasures(self._db))
        if redactor is None or self._digests is None:
            return batch
        kept, messages = held_to(redactor, batch)
        if messages:  # shown to be an erased recipient's only now: what else is known of them goes too
            now = str(self._db.execute(_NOW).fetchone()[0])
            add_erasures(self._db, (self._digests.erased(Value("message", name), now) for name in messages))
            forget_messages(self._db, messages)
        return kept

    def add_erasures(self, entries: Iterable[Erased]) -> None:
        """Put entries on the list: those that outlived the file, before anything is replayed into it."""
        with self.transaction():
            add_erasures(self._db, entries)
            self._held.redactor(last_erasure(self._db), lambda: erasures(self._db))

    def erasures(self) -> list[Erased]:
        """The whole list."""
        return list(erasures(self._db))

    def write_tallies(self, tallies: Iterable[Tally]) -> None:
        """Queue them for the incident step. Inside the transaction of the batches they count."""
        self._db.executemany("INSERT INTO tallies (record) VALUES (?)", [(_json(tally),) for tally in tallies])

    def write_position(self, position: int, partition: int = 0) -> None:
        """The log is handled up to `position`."""
        self._db.execute("INSERT OR REPLACE INTO progress (partition, position) VALUES (?, ?)", (partition, position))

    def to_retry(self, limit: int) -> list[LogRecord]:
        """Dead letters somebody asked to try again, oldest first, with their exact bytes."""
        rows = self._db.execute(
            "SELECT position, source, provider, receipt_id, received_at, content_type, content_encoding, body "
            "FROM dead_letters WHERE retry_requested_at IS NOT NULL ORDER BY position LIMIT ?",
            (limit,),
        )
        return [
            LogRecord(
                position,
                Postback(
                    source,
                    provider,
                    KIND_POSTBACK,
                    receipt_id,
                    epoch_ms(received_at),
                    content_type,
                    encoding,
                    bytes(body),
                ),
            )
            for position, source, provider, receipt_id, received_at, content_type, encoding, body in rows
        ]

    def commit_retry(self, batch: Batch, retried_at: str, *, tallies: Iterable[Tally] = ()) -> None:
        """Write what a second try of dead letters changed: applied once, counted once."""
        with self.transaction():
            batch = self.held(batch)
            refused = {dead.record.position: dead for dead in batch.dead}
            numbers = self._write_outputs(batch)
            for receipt in batch.receipts:
                dead = refused.get(receipt.record.position)
                if dead is not None:
                    self._refuse_again(dead)
                else:
                    self._settle_retry(receipt, retried_at, numbers)
            self.write_tallies(tallies)

    def delete_dead_before(self, received_at: str) -> int:
        """Retention: delete dead letters received before a time; their counts stay in the audit."""
        with self.transaction():
            return self._db.execute("DELETE FROM dead_letters WHERE received_at < ?", (received_at,)).rowcount

    def _write_outputs(self, batch: Batch, others: Iterable[str] = ()) -> dict[str, int]:
        """States, transitions and identifiers; returns the number of every message of the batch."""
        last = self._last_seq()
        numbers = self._number(batch.states, last, others)
        known = [(numbers[key], state) for key, state in batch.states.items() if numbers[key] <= last]
        new = [(numbers[key], state) for key, state in batch.states.items() if numbers[key] > last]
        self._db.executemany(_UPDATE_STATE, [(*_state_values(state), number) for number, state in known])
        self._db.executemany(
            _INSERT_STATE, [(*_identity_values(state), *_state_values(state), number) for number, state in new]
        )
        self._db.executemany(_INSERT_TRANSITION, [_transition_row(t, numbers) for t in batch.transitions])
        if batch.identifiers:
            named = [(identifier, numbers[message_id]) for identifier, message_id in batch.identifiers]
            self._db.executemany("INSERT OR IGNORE INTO identifiers VALUES (?, ?)", named)
        if batch.personal:
            put_personal(self._db, batch.personal)
        return numbers

    def _number(self, states: dict[str, StatusRecord], last: int, others: Iterable[str]) -> dict[str, int]:
        """Each message's `seq`: known, or read, or the next after `last`, in order of first mention."""
        known = self._numbers
        unread = [message_id for message_id in chain(states, others) if message_id not in known]
        for start in range(0, len(unread), _IDS_PER_QUERY):
            chunk = unread[start : start + _IDS_PER_QUERY]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT message_id, seq FROM messages WHERE message_id IN ({marks})"  # noqa: S608 - only marks
            known.update(self._db.execute(query, chunk).fetchall())
        numbers = {}
        for message_id in states:
            number = known.get(message_id, _NEW)
            if number == _NEW:
                last += 1
                number = known[message_id] = last
            numbers[message_id] = number
        for message_id in others:
            numbers[message_id] = known[message_id]
        self._last_number = last
        for message_id in list(islice(known, max(0, len(known) - _NUMBERS_KEPT))):
            del known[message_id]
        return numbers

    def _last_seq(self) -> int:
        if self._last_number is not None:
            return self._last_number
        return cast(int, self._db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()[0])

    def settle(self, receipt: Receipt, retried_at: str) -> None:
        """A dead letter was applied after all; the receipt's position is its own. Inside a transaction."""
        self._settle_retry(receipt, retried_at, self._number({}, self._last_seq(), [receipt.message_id or ""]))

    def _settle_retry(self, receipt: Receipt, retried_at: str, numbers: dict[str, int]) -> None:
        position = receipt.record.position
        self._db.execute(
            "UPDATE dead_letters SET retried_at = ?, retry_requested_at = NULL WHERE position = ?",
            (retried_at, position),
        )
        self._db.execute(
            "UPDATE postbacks SET message_seq = ?, effect = ?, flags = ? WHERE position = ?",
            (numbers[receipt.message_id or ""], receipt.effect, _json(receipt.flags), position),
        )
        applied, duplicates, _ = _COUNT_COLUMNS[receipt.effect]
        row = (receipt.record.postback.source, hour_of(receipt.received_at), applied, duplicates, -1)
        self._db.execute(_COUNT, row)

    def _refuse_again(self, dead: DeadLetter) -> None:
        self._db.execute(
            "UPDATE dead_letters SET stage = ?, reason = ?, detail = ?, retry_requested_at = NULL WHERE position = ?",
            (dead.stage, dead.rejected.reason.value, dead.rejected.detail, dead.record.position),
        )


def state_of(row: Sequence[Any]) -> StatusRecord:
    """A row of `messages` in `STATE_COLUMNS` order as the record it was written from."""
    record = dict(zip(STATE_COLUMNS, row, strict=True))
    record["conflict"], record["overdue"] = bool(record["conflict"]), bool(record["overdue"])
    record["facts"] = [cast(Fact, dict(zip(_FACT, fact, strict=True))) for fact in orjson.loads(record["facts"])]
    record["repeated_until"] = orjson.loads(record["repeated_until"])
    return cast(StatusRecord, record)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _state_values(state: StatusRecord) -> tuple[object, ...]:
    """In the order of `_CHANGING` and `_AS_JSON`."""
    facts = _json([_fact_values(fact) for fact in state["facts"]])
    repeated_until = _json(state["repeated_until"]) if state["repeated_until"] else "{}"
    return (*_changing_values(state), facts, repeated_until)


def _transition_row(transition: Transition, numbers: dict[str, int]) -> tuple[object, ...]:
    message_id = transition["message_id"]
    fact_id = transition["transition_id"][len(message_id) + 1 :]
    return (numbers[message_id], fact_id, *_transition_values(transition))


def _postback_row(receipt: Receipt, numbers: dict[str, int]) -> tuple[object, ...]:
    position, postback = receipt.record
    return (
        position,
        postback.receipt_id,
        None if receipt.message_id is None else numbers[receipt.message_id],
        receipt.received_at,
        postback.content_type,
        receipt.effect,
        _json(receipt.flags) if receipt.flags else "[]",
    )


def _dead_row(dead: DeadLetter) -> tuple[object, ...]:
    postback = dead.record.postback
    return (
        dead.record.position,
        postback.receipt_id,  # one body, one dead letter: its receipt names it
        postback.source,
        postback.provider,
        dead.stage,
        dead.rejected.reason.value,
        dead.rejected.detail,
        postback.receipt_id,
        dead.received_at,
        postback.content_type,
        postback.content_encoding,
        postback.body,
    )


def _counts(receipts: Sequence[Receipt]) -> list[tuple[object, ...]]:
    totals = Counter((r.record.postback.source, r.received_at[:13], r.effect) for r in receipts)
    return [
        (source, f"{hour}:00:00.000Z", *(count * share for share in _COUNT_COLUMNS[effect]))
        for (source, hour, effect), count in totals.items()
    ]
