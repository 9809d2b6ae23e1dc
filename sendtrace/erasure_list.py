"""The list of what was erased, out of tables and into others, so that it is elsewhere when a database is lost.

A data directory has it as a file already, beside the raw log; this is for Postgres.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from schemas.personal import Digests, Erased
from sendtrace.commands.places import Place
from sendtrace.erasure_file import add_to_list, read_list
from sendtrace.tables_store import postgres_of
from sinks.personal.held import check_key
from sinks.tables import sqlite_personal
from sinks.tables.sqlite_turns import transaction


def entries_of(place: Place) -> list[Erased]:
    """The whole list. Raises `sqlite3.Error`, `TablesError`, `OSError`."""
    url = None if place.settings is None else postgres_of(place.settings)
    if url is None:
        found = {entry.digest: entry for entry in read_list(place.paths.erasures)}
        with closing(sqlite3.connect(f"{place.paths.tables.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'erasures'").fetchone() is not None:
                found |= {entry.digest: entry for entry in sqlite_personal.erasures(db)}
        return list(found.values())
    from sinks.tables.postgres_personal import listed_at  # noqa: PLC0415  psycopg, for who has a Postgres

    return listed_at(url)


def add_entries(place: Place, entries: Sequence[Erased], digests: Digests | None) -> None:
    """Put entries on the list; tables in Postgres are made where there are none. Raises as `entries_of` does."""
    check_key(digests, entries)
    url = None if place.settings is None else postgres_of(place.settings)
    if url is None:
        add_to_list(place.paths.erasures, entries)
        with closing(sqlite3.connect(place.paths.tables, isolation_level=None)) as db, transaction(db):
            sqlite_personal.add_erasures(db, entries)
        return
    from sinks.tables.postgres_personal import add_listed_at  # noqa: PLC0415  as above

    add_listed_at(url, entries)
