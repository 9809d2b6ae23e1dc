"""Personal data and the list of what was erased as rows of Postgres, inside the transaction of whoever calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import psycopg

from schemas.batch import Batch
from schemas.personal import Digests, Erased, Personal, Value
from sinks.personal.batches import held_to
from sinks.personal.held import HeldList
from sinks.personal.redactor import Redactor
from sinks.tables.postgres_connect import Connection, connect, told
from sinks.tables.postgres_refused import Aside
from sinks.tables.postgres_schema import lock, migrate
from sinks.tables.trouble import TablesError

#: Nobody adds to the list from here to the end of the transaction: what it writes is held to all of it, and who
#: adds an entry and then looks at the tables finds everything that was written before.
_LOCK: Final = "LOCK TABLE erasures IN SHARE MODE"
_HAS_LIST: Final = "SELECT to_regclass('erasures') IS NOT NULL"
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM erasures"
_ALL: Final = "SELECT digest, shape, chars, key_id, erased_at FROM erasures ORDER BY seq"
_ADD: Final = (
    "INSERT INTO erasures (digest, shape, chars, key_id, erased_at) SELECT * FROM unnest(%s::text[], %s::text[], "
    "%s::integer[], %s::text[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_NOW: Final = "SELECT date_trunc('milliseconds', now())"
_PUT: Final = (
    "INSERT INTO personal_data (message_id, kind, digest, sealed) SELECT * FROM unnest(%s::text[], %s::text[], "
    "%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)
_FORGET_PERSONAL: Final = "DELETE FROM personal_data WHERE message_id = ANY(%s)"
_FORGET_NAMES: Final = "DELETE FROM identifiers WHERE message_id = ANY(%s)"


def held(db: Connection, known: HeldList, digests: Digests | None, batch: Batch) -> Batch:
    """The batch without anything that was erased. Raises `ErasureKeyError`."""
    redactor = locked_redactor(db, known)
    if redactor is None or digests is None:
        return batch
    kept, messages = held_to(redactor, batch)
    if messages:  # shown to be an erased recipient's only now: what else is known of them goes too
        now = str((db.execute(_NOW).fetchone() or ("",))[0])
        add_erasures(db, [digests.erased(Value("message", name), now) for name in messages])
        forget_messages(db, messages)
    return kept


def locked_redactor(db: Connection, known: HeldList) -> Redactor | None:
    """What this transaction's rows must be held to; the list does not grow until it ends. Raises `ErasureKeyError`."""
    db.execute(_LOCK)
    return known.redactor(last_erasure(db), lambda: erasures(db))


def last_erasure(db: Connection) -> int:
    """The number of the newest entry of the list, 0 without any."""
    return int((db.execute(_LAST).fetchone() or (0,))[0])


def erasures(db: Connection) -> list[Erased]:
    """The whole list, oldest first."""
    return [Erased(*row) for row in db.execute(_ALL)]


def add_erasures(db: Connection, entries: Sequence[Erased]) -> None:
    """Put entries on the list; those that are there stay as they are."""
    if entries:
        db.execute(_ADD, [list(column) for column in zip(*entries, strict=True)])


def put_personal(db: Connection, rows: Sequence[Personal]) -> None:
    """Sealed values, each once."""
    db.execute(_PUT, [list(column) for column in zip(*rows, strict=True)])


def personal_aside(row: Personal) -> Aside:
    """What is kept of a refused row."""
    return Aside(f"{row.message_id}\n{row.kind}\n{row.digest}", row)


def forget_messages(db: Connection, message_ids: Iterable[str]) -> tuple[int, int]:
    """Everything that ties messages to a person; how many personal values and identifiers that were."""
    ids = list(message_ids)
    return db.execute(_FORGET_PERSONAL, (ids,)).rowcount, db.execute(_FORGET_NAMES, (ids,)).rowcount


def listed_at(url: str) -> list[Erased]:
    """The whole list of the tables at `url`; none before there are tables. Raises `TablesError`."""
    try:
        with connect(url) as db:
            return erasures(db) if db.execute(_HAS_LIST).fetchone() == (True,) else []
    except psycopg.Error as error:
        raise TablesError(f"the list of erasures cannot be read: {told(error, url)}") from error


def add_listed_at(url: str, entries: Sequence[Erased]) -> None:
    """Put entries on the list of the tables at `url`, which are made where there are none. Raises `TablesError`."""
    try:
        with connect(url) as db:
            if db.execute(_HAS_LIST).fetchone() != (True,):
                lock(db, wait=False)
                migrate(db)
            with db.transaction():
                add_erasures(db, entries)
    except psycopg.Error as error:
        raise TablesError(f"the list of erasures cannot be written: {told(error, url)}") from error
