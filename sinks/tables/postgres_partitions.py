"""The partitions of `transitions` in Postgres: made before they are needed, dropped when their time is over.

Neither keeps a reader from reading, and neither waits long for one: what does not go now goes the next time.
Only for the writer. Which are which is `sinks.tables.transition_months`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from psycopg import errors, sql

from sinks.tables.postgres_connect import Connection
from sinks.tables.transition_months import expired, missing, month_of, start_of

#: This month and the next two: a sink that is down for weeks finds one when it is back.
_AHEAD: Final = 3
_ATTACHED: Final = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'transitions'::regclass
"""
#: Detaching was begun, and the rows are read by nobody any more.
_HALF_DETACHED: Final = f"{_ATTACHED} AND i.inhdetachpending"
#: Ours, as its comment says, and no longer a partition: what is left is to drop it.
_DETACHED: Final = """
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
  AND c.relname ~ '^transitions_' AND obj_description(c.oid, 'pg_class') IN (
      'One month of transitions, by received_at in UTC.', 'Transitions from before each month had its partition.'
  )
"""
_NOW: Final = "SELECT now()"
_MAKE: Final = "SELECT sendtrace_make_month(%s)"
_REMEMBER_LAST: Final = """
INSERT INTO transitions_dropped SELECT 1, coalesce(max(seq), 0) FROM transitions
ON CONFLICT (one) DO UPDATE SET last_seq = greatest(transitions_dropped.last_seq, excluded.last_seq)
"""
#: For readers to end what they began: a batch waits as long.
_LONGEST_WAIT: Final = "3s"

_log = logging.getLogger(__name__)


def make_for(db: Connection, times: Iterable[object]) -> None:
    """A partition for every month of these times that has none. Inside a transaction or outside."""
    months = {month_of(time) for time in times}
    if months - {None}:
        for month in missing(months, _names(db, _ATTACHED)):
            db.execute(_MAKE, (start_of(month),))


def make_ahead(db: Connection) -> None:
    """The partitions of this month and the next ones, by the server's clock."""
    (now,) = db.execute(_NOW).fetchone() or (None,)
    this = month_of(now)
    if this is not None:
        make_for(db, map(start_of, range(this, this + _AHEAD)))


def drop_before(db: Connection, received_at: str) -> list[str]:
    """Drop the partitions whose every row was received before a time; returns their names.

    Outside a transaction. What somebody reads now is left, and goes when this is called again; a row
    of a month that was dropped makes a partition anew, and goes with it.
    """
    old = expired(_names(db, _ATTACHED), received_at)
    if old:
        db.execute(_REMEMBER_LAST)
    with _bounded(db):
        for name in old:
            _detach(db, name)
        return [name for name in expired(_names(db, _DETACHED), received_at) if _drop(db, name)]


def _detach(db: Connection, name: str) -> None:
    """Concurrently: readers of the table go on reading, those of this partition are waited for."""
    how = "FINALIZE" if name in _names(db, _HALF_DETACHED) else "CONCURRENTLY"
    _done(db, sql.SQL("ALTER TABLE transitions DETACH PARTITION {} {}").format(sql.Identifier(name), sql.SQL(how)))


def _drop(db: Connection, name: str) -> bool:
    return _done(db, sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def _done(db: Connection, statement: sql.Composed) -> bool:
    try:
        db.execute(statement)
    except (errors.QueryCanceled, errors.LockNotAvailable):
        _log.info("transitions of an old month are being read; they are dropped later")
        return False
    return True


@contextmanager
def _bounded(db: Connection) -> Iterator[None]:
    db.execute(f"SET statement_timeout = '{_LONGEST_WAIT}'")
    try:
        yield
    finally:
        if not db.closed and not db.broken:
            db.execute("RESET statement_timeout")


def _names(db: Connection, query: str) -> list[str]:
    return [name for (name,) in db.execute(query)]
