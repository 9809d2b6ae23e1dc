"""An export of a time range: whole hours of the chosen tables as Parquet files, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from schemas.times import iso_ms
from sinks.parquet.datasets import DATASETS, INCIDENTS, TRANSITIONS, Dataset
from sinks.parquet.hours import HourFiles, Outcome
from sinks.parquet.rolls import NOTE
from sinks.parquet.root import Root
from sinks.parquet.rows import Hour, Rows
from sinks.parquet.trouble import ParquetError

_HOUR_MS: Final = 3_600_000
_PURPOSE: Final = "exporting"


class Span(NamedTuple):
    """Whole hours in UTC, as times of ours: from the first to before the second."""

    since: str
    until: str


class Done(NamedTuple):
    """One table's hours of so many; called after each."""

    table: str
    hours: int
    of: int


def whole_hours(since_ms: int, until_ms: int) -> Span:
    """The hours that have any of it: what a file is of. Raises `ValueError` when there is none."""
    if until_ms <= since_ms:
        raise ValueError("it is not after the beginning")
    return Span(iso_ms(since_ms // _HOUR_MS * _HOUR_MS), iso_ms(-(-until_ms // _HOUR_MS) * _HOUR_MS))


def export(
    root: Root, rows: Rows, span: Span, tables: Sequence[str], *, bodies: bool, progress: Callable[[Done], None]
) -> dict[str, Outcome]:
    """Export tables by name; incidents always whole. The same again changes nothing.

    Raises `ParquetError`, also where the sink keeps transitions already; `sqlite3.Error`, `TablesError`.
    """
    if TRANSITIONS.name in tables and root.exists(NOTE):
        raise ParquetError(
            f"{root.url}: `sendtrace sink parquet` keeps transitions there already, and each would be there twice;"
            " give another place, or leave out --table transitions"
        )
    outcomes = {table: Outcome() for table in tables}
    with root.lock(_PURPOSE, wait=False), root.temporary(_PURPOSE) as temporary:
        files = HourFiles(root, rows, temporary)
        for table, outcome in outcomes.items():
            if table == INCIDENTS.name:
                files.export_incidents(outcome)
            else:
                _hours(
                    files,
                    DATASETS[table],
                    rows.hours(DATASETS[table], *span),
                    outcome,
                    bodies=bodies,
                    progress=progress,
                )
    return outcomes


def _hours(
    files: HourFiles,
    dataset: Dataset,
    hours: Sequence[Hour],
    outcome: Outcome,
    *,
    bodies: bool,
    progress: Callable[[Done], None],
) -> None:
    for number, hour in enumerate(hours):
        progress(Done(dataset.name, number, len(hours)))
        files.export(dataset, hour, outcome, bodies=bodies)
    progress(Done(dataset.name, len(hours), len(hours)))
