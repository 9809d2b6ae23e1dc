"""Rows of a time range as a file an hour, day and source, and a small table as one file: what an export writes.

Which file a row is in follows from the row alone, and a file is all its rows as the tables have them now. So any two
exports may overlap, be repeated, or be killed, and a place has each row once: a file is replaced whole or not at all.
One that has more rows than the tables is left alone: then the tables have let go of rows, by their retention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Final

import pyarrow as pa

from sinks.parquet.datasets import INCIDENTS, LAYOUTS, Dataset
from sinks.parquet.files import Files, Made, all_in_one, by_day_and_source
from sinks.parquet.rolls import WRITING, StoppedError
from sinks.parquet.root import Root
from sinks.parquet.rows import Hour, Rows

_INCIDENTS_FILE: Final = f"{INCIDENTS.name}/{INCIDENTS.name}.parquet"


@dataclass(slots=True)
class Outcome:
    """What became of files: written, the same as before, or left alone because they have more rows."""

    rows: int = 0
    bytes: int = 0
    written: int = 0
    same: int = 0
    left_alone: int = 0


@dataclass(slots=True)
class HourFiles:
    """A writer of such files; used by one thread. `temporary` is a directory of its own."""

    root: Root
    rows: Rows
    temporary: Path
    is_stopping: Callable[[], bool] = lambda: False
    #: SHA-256 of what this process wrote, by name: the same again need not be written.
    _written: dict[str, bytes] = field(default_factory=dict)

    def export(self, dataset: Dataset, hour: Hour, outcome: Outcome, *, bodies: bool = False) -> None:
        """All rows of an hour. Raises `ParquetError`, `sqlite3.Error`, `TablesError`."""
        with self.root.lock(WRITING, wait=True):
            for made in self._made(dataset, self.rows.of_hour(dataset, hour, bodies=bodies)):
                self._publish(made, f"{dataset.name}/{made.directory}/hour-{hour.at[-2:]}.parquet", outcome)

    def export_incidents(self, outcome: Outcome) -> None:
        """All there are. Raises as `export`."""
        with self.root.lock(WRITING, wait=True):
            for made in self._made(INCIDENTS, self.rows.incidents()):
                self._publish(made, _INCIDENTS_FILE, outcome)

    def _made(self, dataset: Dataset, pieces: Iterable[pa.Table]) -> list[Made]:
        layout = LAYOUTS[dataset.name]
        files = Files(layout, self.temporary, by_day_and_source(layout) if dataset.day else all_in_one)
        try:
            for piece in pieces:
                self._look_for_stop()
                files.add(piece)
            return files.close()
        except BaseException:
            files.abandon()
            raise

    def _look_for_stop(self) -> None:
        if self.is_stopping():
            raise StoppedError

    def _publish(self, made: Made, name: str, outcome: Outcome) -> None:
        with made.path.open("rb") as file:
            digest = file_digest(file, "sha256").digest()
        if self._written.get(name) == digest or self._is_same(name, digest):
            outcome.same += 1
        elif (self.root.rows_of(name) or 0) > made.rows:
            outcome.left_alone += 1
        else:
            self.root.publish(made.path, name)
            outcome.written += 1
            outcome.bytes += made.bytes
        self._written[name] = digest
        outcome.rows += made.rows
        made.path.unlink(missing_ok=True)

    def _is_same(self, name: str, digest: bytes) -> bool:
        """On S3 it is not read for that."""
        if self.root.local is None or not (self.root.local / name).is_file():
            return False
        with (self.root.local / name).open("rb") as file:
            return file_digest(file, "sha256").digest() == digest
