"""Erases a recipient from the SQLite tables, beside whoever writes them, until no byte of it is in the file.

The list comes first: what the writer adds from then on is held to it. Then every table is gone through in
short transactions, and at the end the file is made anew, because SQLite leaves old bytes in pages it reuses.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from sinks.personal.cells import SKIPPED_TABLES, Cell, hint_of, is_looked_at, rewritten
from sinks.personal.erasing import Erasure, Touched
from sinks.personal.redactor import Redactor
from sinks.tables.sqlite_personal import add_erasures, forget_messages
from sinks.tables.sqlite_turns import transaction
from sinks.tables.trouble import TablesError

_BUSY_TIMEOUT_S: Final = 30.0
_ROWS_A_TRANSACTION: Final = 10_000
_BATCH: Final = 500
_TRIES: Final = 50
_PAUSE_S: Final = 0.1
_TABLES: Final = "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
_MESSAGES_OF: Final = "SELECT message_id FROM personal_data WHERE digest = ?"
_MESSAGES_NAMED: Final = (
    "SELECT m.message_id FROM identifiers AS i JOIN messages AS m ON m.seq = i.message_seq WHERE i.identifier = ?"
)


class _Table(NamedTuple):
    name: str
    key: tuple[str, ...]  # rowid, or the primary key of a table without one
    columns: tuple[str, ...]
    has_bytes: bool


def erase_from_sqlite(path: Path, erasure: Erasure) -> Touched:
    """Erase, or count what would be. Raises `sqlite3.Error`, and `TablesError` for tables of an older release."""
    touched = Touched()
    with closing(_open(path, writable=erasure.apply)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'erasures'").fetchone() is None:
            raise TablesError("the tables are those of an older release; start this one once, then erase")
        with transaction(db, "IMMEDIATE" if erasure.apply else "DEFERRED"):
            _forget(db, erasure, touched)
        redactor, hint = erasure.redactor(), hint_of(list(erasure.values))
        for table in _tables(db):
            for rows in _rows(db, table, hint, writing=erasure.apply):
                touched.add(table.name, _rewrite(db, table, rows, redactor, apply=erasure.apply))
        if erasure.apply:
            _make_anew(db)
    return touched


def _open(path: Path, *, writable: bool) -> sqlite3.Connection:
    mode = "rw" if writable else "ro"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None
    )
    db.execute("PRAGMA secure_delete = ON")
    return db


def _forget(db: sqlite3.Connection, erasure: Erasure, touched: Touched) -> None:
    """The list, and the rows that tie messages to the recipient."""
    asked = [(_MESSAGES_OF, digest) for digest in erasure.personal_digests()]
    asked += [(_MESSAGES_NAMED, name) for name in erasure.identifiers()]
    ids = sorted({row[0] for select, value in asked for row in db.execute(select, (value,))})
    touched.messages_of = len(ids)
    if erasure.apply:
        entries = erasure.entries(ids)
        erasure.keep(entries)
        add_erasures(db, entries)
        personal, names = forget_messages(db, ids)
    else:
        personal = sum(_count(db, "personal_data WHERE message_id = ?", message_id) for message_id in ids)
        names = sum(
            _count(db, "identifiers JOIN messages ON seq = message_seq WHERE message_id = ?", message_id)
            for message_id in ids
        )
    touched.add("personal_data", personal)
    touched.add("identifiers", names)


def _count(db: sqlite3.Connection, what: str, value: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {what}", (value,)).fetchone()[0])  # noqa: S608  texts of our own


def _tables(db: sqlite3.Connection) -> list[_Table]:
    found = []
    for name, without_rowid in db.execute(_TABLES).fetchall():
        if name in SKIPPED_TABLES or name.startswith("sqlite_"):
            continue
        columns = db.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
        key = tuple(column for column, _, place in columns if place) if without_rowid else ("rowid",)
        texts = [
            (column, kind)
            for column, kind, place in columns
            if kind in {"TEXT", "BLOB"} and not place and is_looked_at(column)
        ]
        if texts:
            found.append(_Table(name, key, tuple(column for column, _ in texts), any(k == "BLOB" for _, k in texts)))
    return found


def _rows(
    db: sqlite3.Connection, table: _Table, hint: str | None, *, writing: bool
) -> Iterator[list[tuple[Cell | int, ...]]]:
    """Those that may hold the recipient, some at a time, each time inside a transaction."""
    names = ", ".join((*table.key, *table.columns))
    likely = "1"
    if hint is not None and not table.has_bytes:
        # LIKE sees nothing behind U+0000.
        tests = (f"{column} LIKE '%{hint}%' OR instr({column}, char(0))" for column in table.columns)
        likely = "(" + " OR ".join(tests) + ")"
    if table.key != ("rowid",):
        with transaction(db, "IMMEDIATE" if writing else "DEFERRED"):
            yield db.execute(f"SELECT {names} FROM {table.name} WHERE {likely}").fetchall()  # noqa: S608  our names
        return
    last = -(2**63)
    while True:
        with transaction(db, "IMMEDIATE" if writing else "DEFERRED"):
            end = db.execute(
                f"SELECT max(rowid) FROM (SELECT rowid FROM {table.name} WHERE rowid > ? ORDER BY rowid LIMIT ?)",  # noqa: S608  our names
                (last, _ROWS_A_TRANSACTION),
            ).fetchone()[0]
            if end is None:
                return
            select = f"SELECT {names} FROM {table.name} WHERE rowid > ? AND rowid <= ? AND {likely}"  # noqa: S608  our names
            cursor = db.execute(select, (last, end))
            while some := cursor.fetchmany(_BATCH):
                yield some
        last = end


def _rewrite(
    db: sqlite3.Connection, table: _Table, rows: Sequence[tuple[Cell | int, ...]], redactor: Redactor, *, apply: bool
) -> int:
    found = 0
    keys = len(table.key)
    for row in rows:
        cells: Mapping[str, Cell] = dict(zip(table.columns, row[keys:], strict=True))  # type: ignore[arg-type]  # only keys are numbers
        changed = rewritten(redactor, table.name, cells)
        found += bool(changed)
        if changed and apply:
            sets = ", ".join(f"{name} = ?" for name in changed)
            where = " AND ".join(f"{name} = ?" for name in table.key)
            db.execute(f"UPDATE {table.name} SET {sets} WHERE {where}", (*changed.values(), *row[:keys]))  # noqa: S608  our names
    return found


def _make_anew(db: sqlite3.Connection) -> None:
    """The file without its free pages and old bytes, and its log empty. Readers are waited for."""
    for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
        for tried in range(_TRIES):
            try:
                busy = db.execute(statement).fetchone()
            except sqlite3.OperationalError:
                if tried == _TRIES - 1:
                    raise
            else:
                if busy is None or busy[0] == 0:
                    break
            time.sleep(_PAUSE_S)
        else:
            raise TablesError("somebody reads the tables all the time, so old bytes are still in the file; erase again")
