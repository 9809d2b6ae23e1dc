"""Rows in both databases and what DuckDB finds in the files made of them: what the tests of Parquet share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
import orjson
import psycopg
import pytest

from schemas.postback import Postback
from schemas.times import iso_ms
from sinks.parquet.datasets import DATASETS, FACT, SAMPLE, Kind
from sinks.parquet.hours import HourFiles, Outcome
from sinks.parquet.rolls import Limits, Rolls
from sinks.parquet.root import Root
from sinks.parquet.rows import Rows
from tests.integration.read_rig import HOUR_MS, MIDNIGHT_MS, Sent, braze, documented, nrs
from tests.postgres.changes_rig import Stream

ALWAYS: Final = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
LIMITS: Final = Limits(bytes=128 * 1024 * 1024, rows=1_000_000)
#: Texts that CSV, JSON or a careless reader might take for something else.
ODD_REASONS: Final = ("", "a\nb", 'say "no", or', "\\N", "(NULL)", "null", "😀 \\u0041", "'; --", "\x01\x7f", ",,,")
Row = tuple[object, ...]


def of_some_days() -> list[Postback]:
    """Every documented body and odd texts, received over three days, the last ones late."""
    sent: list[Sent] = [
        *documented(),
        *(braze(f"odd{number}", "bounced", reason=reason) for number, reason in enumerate(ODD_REASONS)),
        *(braze(f"d{number}", status) for number in range(40) for status in ("sent", "delivered")),
        *(nrs(f"id=n{number}&status=DELIVERED") for number in range(9)),
        Sent(b"nobody reads this"),
    ]
    stream = Stream()
    postbacks = [stream._received(one) for one in sent]
    hours = (0, 1, 23, 24, 25, 49, 1, 25)
    return [
        postback._replace(received_ms=MIDNIGHT_MS + hours[number * len(hours) // len(postbacks)] * HOUR_MS + number * 7)
        for number, postback in enumerate(postbacks)
    ]


def some_rows(stream: Stream, count: int, *, first: int = 0) -> list[Postback]:
    """Bounces of new messages, 1.8 seconds apart."""
    return [stream._received(braze(f"m{number}", "bounced", reason="550 no")) for number in range(first, first + count)]


def roll_all(rows: Rows, root: Root, limits: Limits = LIMITS) -> Rolls:
    """As the sink does, until nothing is left; the writer, whose temporary directory is gone."""
    with root.temporary("making") as temporary:
        rolls = Rolls(root, rows, limits, temporary)
        while rolls.roll(MIDNIGHT_MS):
            pass
    return rolls


def export_all(rows: Rows, root: Root, *, bodies: bool = False) -> Outcome:
    """All tables, all hours."""
    outcome = Outcome()
    with root.temporary("exporting") as temporary:
        files = HourFiles(root, rows, temporary)
        for dataset in DATASETS.values():
            for hour in rows.hours(dataset, *ALWAYS) if dataset.day else ():
                files.export(dataset, hour, outcome, bodies=bodies)
        files.export_incidents(outcome)
    return outcome


def asked(directory: Path, query: str) -> list[Row]:
    """What DuckDB answers, with `directory` as its own and times in UTC."""
    with closing(duckdb.connect()) as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(f"SET file_search_path = '{directory}'")
        return db.execute(query).fetchall()


def in_files(directory: Path, name: str) -> list[Row]:
    """All rows of a dataset by DuckDB, columns and order of the table, times as texts of ours."""
    dataset = DATASETS[name]
    pattern = f"{name}/*.parquet" if not dataset.day else f"{name}/**/*.parquet"
    types = ", hive_partitioning = true, hive_types = {'day': DATE, 'source': VARCHAR}" if dataset.day else ""
    columns = ", ".join(dataset.columns)
    query = f"SELECT {columns} FROM read_parquet('{pattern}'{types}) ORDER BY {dataset.key}"  # noqa: S608  names of ours
    return [tuple(map(_plain, row)) for row in asked(directory, query)]


def in_sqlite(path: Path, name: str) -> list[Row]:
    """All rows of a table, in the same form."""
    with closing(sqlite3.connect(path)) as db:
        return [_as_in_files(name, row) for row in db.execute(_select(name))]


def in_postgres(url: str, name: str) -> list[Row]:
    """The same."""
    with psycopg.connect(url) as db:
        db.execute("SET timezone = 'UTC'")
        return [_as_in_files(name, row) for row in db.execute(_select(name).encode()).fetchall()]


def _select(name: str) -> str:
    dataset = DATASETS[name]
    columns = ("NULL" if kind is Kind.BYTES else column for column, kind in dataset.columns.items())
    return f"SELECT {', '.join(columns)} FROM {name} ORDER BY {dataset.key}"  # noqa: S608  names of ours


def _as_in_files(name: str, row: Row) -> Row:
    kinds = DATASETS[name].columns.values()
    return tuple(_of_kind(kind, _plain(value)) for kind, value in zip(kinds, row, strict=True))


def _of_kind(kind: Kind, value: object) -> object:
    if kind is Kind.TRUTH:
        return bool(value)
    if kind in {Kind.FACTS, Kind.SAMPLES}:
        names = (FACT if kind is Kind.FACTS else SAMPLE).names
        parsed = orjson.loads(value) if isinstance(value, str) else value
        assert isinstance(parsed, list)
        return [
            dict(zip(names, one if isinstance(one, list) else [one[n] for n in names], strict=True)) for one in parsed
        ]
    return value


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso_ms(round(value.astimezone(UTC).timestamp() * 1000))
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file that has a name for readers, with its bytes."""
    found = (path for path in directory.rglob("*.parquet") if "_sendtrace" not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@contextmanager
def crashing(root: Root, after: int) -> Iterator[Root]:
    """The same place, where the process dies before it gives the next name after so many."""
    left = [after]
    publish = Root.publish

    def dying(self: Root, made: Path, name: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        publish(self, made, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Root, "publish", dying)
        yield root
