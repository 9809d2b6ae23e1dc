"""Transactions of the several writers of one SQLite file, so that each comes to its turn. One way to make them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

#: While a backlog is handled the processor has the file nearly always. SQLite's own waiting looks every tenth of a
#: second, and meets the moment between two of its transactions about never (measured: not in twenty seconds).
_LOOK_S: Final = 0.000_2
_PATIENCE_S: Final = 30.0


@contextmanager
def transaction(db: sqlite3.Connection, begin: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
    """Everything written inside, or nothing. `db` is in autocommit mode (`isolation_level=None`).

    Waits its turn for at most half a minute; then, and for any other trouble, raises `sqlite3.OperationalError`.
    """
    _begin(db, begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors end it by themselves
            db.execute("ROLLBACK")
        raise


def _begin(db: sqlite3.Connection, begin: str) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    (before_ms,) = db.execute("PRAGMA busy_timeout").fetchone()
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while not _begins(db, begin, last=time.monotonic() > give_up_s):
            time.sleep(_LOOK_S)
    finally:
        db.execute(f"PRAGMA busy_timeout = {before_ms}")  # for whatever else may be busy, such as a checkpoint


def _begins(db: sqlite3.Connection, begin: str, *, last: bool) -> bool:
    try:
        db.execute(f"BEGIN {begin}")
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True
