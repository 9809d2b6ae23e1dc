"""Erases a recipient from the Postgres tables, beside whoever writes them.

The list comes first: what the sink adds from then on is held to it. Then every table is gone through in a
transaction of its own that lets others read and not write, so that nothing is overwritten that was not seen.
Old row versions go with the `VACUUM` at the end; what backups and the server's log hold is not ours to reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from sinks.personal.cells import SKIPPED_TABLES, Cell, hint_of, is_looked_at, rewritten
from sinks.personal.erasing import Erasure, Touched
from sinks.personal.redactor import Redactor
from sinks.tables.postgres_connect import Connection, connect, told
from sinks.tables.postgres_personal import add_erasures, forget_messages
from sinks.tables.trouble import TablesError

_ROWS_AT_A_TIME: Final = 500
_HAS_LIST: Final = "SELECT to_regclass('erasures') IS NOT NULL"
#: Where rows really are: a partitioned table has none of its own.
_TABLES: Final = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
  AND a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
  AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY(i.indkey))
GROUP BY c.relname ORDER BY c.relname
"""
_PARENT: Final = (
    "SELECT p.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
    "JOIN pg_class AS p ON p.oid = i.inhparent WHERE c.oid = %s::regclass"
)
_MESSAGES_OF: Final = (
    "SELECT message_id FROM personal_data WHERE digest = ANY(%s) "
    "UNION SELECT message_id FROM identifiers WHERE identifier = ANY(%s)"
)
_PERSONAL: Final = "SELECT count(*) FROM personal_data WHERE message_id = ANY(%s)"
_NAMES: Final = "SELECT count(*) FROM identifiers WHERE message_id = ANY(%s)"
#: Waits for whoever writes the list or writes beside it, and holds them up until this transaction ends.
_LOCK_LIST: Final = "LOCK TABLE erasures IN SHARE ROW EXCLUSIVE MODE"


class _Table(NamedTuple):
    name: str
    columns: dict[str, str]  # name → type


def erase_from_postgres(url: str, erasure: Erasure) -> Touched:
    """Erase, or count what would be. Raises `TablesError`."""
    try:
        with connect(url) as db:
            if db.execute(_HAS_LIST).fetchone() != (True,):
                raise TablesError("the tables are those of an older release; start its sink once, then erase")
            return _erase(db, erasure)
    except psycopg.Error as error:
        raise TablesError(f"erasing failed, and can be begun again: {told(error, url)}") from error


def _erase(db: Connection, erasure: Erasure) -> Touched:
    touched = Touched()
    with db.transaction():
        _forget(db, erasure, touched)
    redactor, hint = erasure.redactor(), hint_of(list(erasure.values))
    changed = ["personal_data", "identifiers"]
    for table in _tables(db):
        with db.transaction():
            count = _rewrite(db, table, redactor, hint, apply=erasure.apply)
        if count:
            touched.add(_told_as(db, table.name), count)
            changed.append(table.name)
    if erasure.apply:
        for name in changed:
            db.execute(sql.SQL("VACUUM {}").format(sql.Identifier(name)))
    return touched


def _forget(db: Connection, erasure: Erasure, touched: Touched) -> None:
    """The list, and the rows that tie messages to the recipient."""
    if erasure.apply:
        db.execute(_LOCK_LIST)
    rows = db.execute(_MESSAGES_OF, (erasure.personal_digests(), erasure.identifiers()))
    ids = sorted(row[0] for row in rows)
    touched.messages_of = len(ids)
    if erasure.apply:
        entries = erasure.entries(ids)
        erasure.keep(entries)
        add_erasures(db, entries)
        personal, names = forget_messages(db, ids)
    else:
        personal, names = (int((db.execute(count, (ids,)).fetchone() or (0,))[0]) for count in (_PERSONAL, _NAMES))
    touched.add("personal_data", personal)
    touched.add("identifiers", names)


def _tables(db: Connection) -> list[_Table]:
    found = []
    for name, columns, types in db.execute(_TABLES).fetchall():
        looked_at = {column: kind for column, kind in zip(columns, types, strict=True) if is_looked_at(column)}
        if name not in SKIPPED_TABLES and looked_at:
            found.append(_Table(name, looked_at))
    return found


def _told_as(db: Connection, name: str) -> str:
    """A partition is told by the name of its table."""
    row = db.execute(_PARENT, (name,)).fetchone()
    return name if row is None else str(row[0])


def _rewrite(db: Connection, table: _Table, redactor: Redactor, hint: str | None, *, apply: bool) -> int:
    """Every row that holds the recipient; how many. Others may read the table meanwhile."""
    named = sql.Identifier(table.name)
    if apply:
        db.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(named))
    columns = sql.SQL(", ").join(
        sql.Identifier(name) if kind == "bytea" else sql.SQL("{}::text").format(sql.Identifier(name))
        for name, kind in table.columns.items()
    )
    select = sql.SQL("SELECT ctid::text, {} FROM {} WHERE {}").format(columns, named, _likely(table, hint))
    found = 0
    with db.cursor("erasing") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        for place, *cells in cursor.execute(select):
            row: Mapping[str, Cell] = dict(zip(table.columns, cells, strict=True))
            changed = rewritten(redactor, table.name, row)
            found += bool(changed)
            if changed and apply:
                sets = sql.SQL(", ").join(
                    sql.SQL("{} = %s::{}").format(sql.Identifier(name), sql.SQL(table.columns[name]))
                    for name in changed
                )
                update = sql.SQL("UPDATE {} SET {} WHERE ctid = %s::tid").format(named, sets)
                db.execute(update, (*changed.values(), place))
    return found


def _likely(table: _Table, hint: str | None) -> sql.Composable:
    if hint is None or "bytea" in table.columns.values():
        return sql.SQL("true")
    pattern = sql.Literal(f"%{hint}%")
    return sql.SQL(" OR ").join(
        sql.SQL("{}::text ILIKE {}").format(sql.Identifier(name), pattern) for name in table.columns
    )
