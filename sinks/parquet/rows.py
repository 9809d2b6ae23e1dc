"""Where rows come from: what both databases give of their tables, in columns and in bounded pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import pyarrow as pa

from sinks.parquet.datasets import Dataset

#: A piece is handed on when it has as many rows or bytes of text; a row is never cut.
PIECE_ROWS: Final = 50_000
PIECE_BYTES: Final = 32 * 1024 * 1024


class Hour(NamedTuple):
    """Rows of one hour, UTC: `at` is `2026-11-21T14`. `first` and `last` bound their keys, others lie between."""

    at: str
    first: int
    last: int
    rows: int


class Rows(Protocol):
    """Rows of the tables, while others write them. Used by one thread. Raises `sqlite3.Error` or `TablesError`."""

    def last_transition(self) -> int:
        """The greatest `seq` there is; 0 without any."""
        ...

    def transitions(self, after: int, *, to: int | None, limit: int) -> Iterator[pa.Table]:
        """Those with `seq` above `after` and at most `to`, in order, at most `limit`, in pieces that are not empty.

        Whatever is written later has a greater `seq` than all that could be read: there is one writer.
        """
        ...

    def hours(self, dataset: Dataset, since: str, until: str) -> list[Hour]:
        """The hours before `until` in which something was written at or after `since`, oldest first."""
        ...

    def of_hour(self, dataset: Dataset, hour: Hour, *, bodies: bool) -> Iterator[pa.Table]:
        """All rows of an hour within its bounds, by key, in pieces that are not empty. `bodies`: of dead letters."""
        ...

    def incidents(self) -> Iterator[pa.Table]:
        """All there are, by id."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
