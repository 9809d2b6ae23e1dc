"""Erases a recipient wherever sendtrace keeps rows: the tables, the list that holds replays to it, Parquet files.

It does not touch the raw log: its bytes end with their retention, and until then nobody is given them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.personal import Digests, Erased, Value
from sendtrace.data_paths import DataPaths
from sendtrace.erasure_file import add_to_list
from sendtrace.settings import Settings
from sendtrace.tables_store import postgres_of
from sinks.personal.erasing import Erasure, Touched
from sinks.tables.sqlite_erase import erase_from_sqlite

if TYPE_CHECKING:
    from sinks.parquet.root import Root


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Everywhere rows are. `settings` are those of the roles on Kafka; `parquet` is a directory or s3:// URL."""

    paths: DataPaths
    settings: Settings | None
    parquet: str | None = None
    s3_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was erased, or would be."""

    tables: Touched
    parquet_files: int | None


def erase(places: Places, values: list[Value], digests: Digests, *, erased_at: str, apply: bool) -> Found:
    """Tables first, then files: what is written meanwhile is of the tables as they are then.

    Raises `TablesError`, `ParquetError`, `sqlite3.Error`, `OSError`; then it can be begun again.
    """
    url = None if places.settings is None else postgres_of(places.settings)
    if url is None:
        keep = partial(_keep, places.paths.erasures)
        erasure = Erasure(tuple(values), digests, erased_at, apply, keep)
        touched = erase_from_sqlite(places.paths.tables, erasure)
    else:
        from sinks.tables.postgres_erase import erase_from_postgres  # noqa: PLC0415  psycopg, for who has a Postgres

        erasure = Erasure(tuple(values), digests, erased_at, apply)
        touched = erase_from_postgres(url, erasure)
    return Found(touched, None if places.parquet is None else _from_files(places, erasure))


def _keep(path: Path, entries: Sequence[Erased]) -> None:
    add_to_list(path, entries)


def _from_files(places: Places, erasure: Erasure) -> int:
    from sinks.parquet.erase import Eraser  # noqa: PLC0415  Arrow, for who has files
    from sinks.parquet.rewrite import rewrite  # noqa: PLC0415  the same
    from sinks.parquet.root import open_root  # noqa: PLC0415  the same

    root: Root = open_root(str(places.parquet), s3_endpoint=places.s3_endpoint)
    eraser = Eraser(erasure.redactor(), apply=erasure.apply)
    rewrite(root, eraser, spool=places.paths.parquet)
    return eraser.files
