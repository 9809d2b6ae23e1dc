"""Rows as Parquet files of one dataset: one for each day and source, or other directory, written as rows come.

The files are temporary ones until somebody publishes them. Memory is bounded: rows wait for a row group of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.parquet.datasets import SOURCE, Layout
from sinks.parquet.trouble import trouble_at

#: Large enough to be read fast, small enough to wait in memory: about 40 MiB of text.
ROWS_PER_GROUP: Final = 100_000
#: Of all files together; when more wait, the longest queue is written as a smaller group.
_MOST_WAITING_ROWS: Final = 400_000
#: Half the bytes of snappy on such rows, for the same time.
_COMPRESSION: Final = "zstd"
_LEVEL: Final = 1


class Made(NamedTuple):
    """A finished temporary file with at least one row, and the directory it is for: `day=2026-11-21/source=braze`."""

    directory: str
    path: Path
    rows: int
    bytes: int


@dataclass(slots=True)
class _Open:
    path: Path
    writer: pq.ParquetWriter
    waiting: list[pa.Table] = field(default_factory=list)
    waiting_rows: int = 0
    rows: int = 0


class Files:
    """The files that are being written. `split` gives a piece of rows by the directory of each."""

    def __init__(
        self, layout: Layout, temporary: Path, split: Callable[[pa.Table], Iterator[tuple[str, pa.Table]]]
    ) -> None:
        self._layout = layout
        self._temporary = temporary
        self._split = split
        self._open: dict[str, _Open] = {}

    def add(self, rows: pa.Table) -> None:
        """Take a piece of rows. Raises `ParquetError` when the disk does not."""
        for directory, some in self._split(rows):
            file = self._open.get(directory) or self._begin(directory)
            file.waiting.append(some)
            file.waiting_rows += some.num_rows
            if file.waiting_rows >= ROWS_PER_GROUP:
                self._write(file)
        while sum(file.waiting_rows for file in self._open.values()) > _MOST_WAITING_ROWS:
            self._write(max(self._open.values(), key=lambda file: file.waiting_rows))

    def largest_bytes(self) -> int:
        """Of the files so far, without what waits for its row group."""
        return max((file.path.stat().st_size for file in self._open.values()), default=0)

    def count(self) -> int:
        """How many files are open."""
        return len(self._open)

    def close(self) -> list[Made]:
        """Finish all, in order of their directories."""
        made = []
        for directory, file in sorted(self._open.items()):
            self._write(file)
            with trouble_at(str(file.path)):
                file.writer.close()
                made.append(Made(directory, file.path, file.rows, file.path.stat().st_size))
        self._open = {}
        return made

    def abandon(self) -> None:
        """Let go of all; whoever gave the temporary directory removes it."""
        for file in self._open.values():
            try:
                file.writer.close()
            except OSError:  # the disk is full, which has been said
                file.writer.is_open = False
        self._open = {}

    def _begin(self, directory: str) -> _Open:
        path = self._temporary / f"{len(self._open):06d}.tmp"
        with trouble_at(str(path)):
            writer = pq.ParquetWriter(
                path,
                self._layout.file,
                compression=_COMPRESSION,
                compression_level=_LEVEL,
                use_dictionary=self._layout.words,
                write_statistics=True,
            )
        self._open[directory] = file = _Open(path, writer)
        return file

    def _write(self, file: _Open) -> None:
        if not file.waiting:
            return
        rows = pa.concat_tables(file.waiting).select(self._layout.file.names).cast(self._layout.file)
        file.waiting, file.waiting_rows = [], 0
        with trouble_at(str(file.path)):
            file.writer.write_table(rows, row_group_size=rows.num_rows)
        file.rows += rows.num_rows


def by_day_and_source(layout: Layout) -> Callable[[pa.Table], Iterator[tuple[str, pa.Table]]]:
    """Rows of a piece by the day of their time and by their source, in their order."""

    def split(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        days = rows.column(layout.dataset.day).cast(pa.date32(), safe=False)
        keys = pa.table({"day": days, SOURCE: rows.column(SOURCE)})
        pairs = keys.group_by(["day", SOURCE], use_threads=False).aggregate([]).to_pylist()
        for pair in pairs:
            mine = (
                rows
                if len(pairs) == 1
                else rows.filter(pc.and_(pc.equal(days, pair["day"]), pc.equal(rows.column(SOURCE), pair[SOURCE])))
            )
            yield f"day={pair['day']:%Y-%m-%d}/{SOURCE}={quote(pair[SOURCE], safe='')}", mine

    return split


def all_in_one(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """For a dataset without days."""
    yield "", rows
