"""Rows a second into Postgres as the tables sink writes them, beside a bare COPY and merge of the same rows.

All are given everything in memory and write the same transactions, durably, into databases of one server.
`bare` has its rows ready and gives them to psycopg; `text` has even the finished text of COPY. Neither makes
a row, looks up a receipt, minds a position, counts, or could set a row aside. All must leave as many rows.
CPU seconds are those of this process and of the server's session; they hold when others are busy too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from processors.partition import PartitionProcessor
from schemas.batch import Batch
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.receipts import ReceiptIds
from schemas.times import hour_of, iso_ms
from sinks.tables.changes import Changes
from sinks.tables.postgres_connect import Row
from sinks.tables.postgres_merge import COPY_POSTBACKS, COPY_STATES, COPY_TRANSITIONS, MERGE_STATES, STAGING
from sinks.tables.postgres_rows import postback_row, state_row, transition_row
from sinks.tables.postgres_writer import PostgresTables
from tests.bench.core_process import ChangelogStore
from tests.bench.machine import cpu_s
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.postbacks import traffic
from tests.bench.processes import BenchError
from tests.postgres.changes_rig import NORMALIZER
from tests.postgres.local_postgres import LocalPostgres, PostgresError

_POSTBACKS: Final = 60_000
#: A transaction of the sink that has something to catch up with.
_PER_TRANSACTION: Final = 5_000
_PER_MS: Final = 15
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_COUNT: Final = (
    "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM transitions) + (SELECT count(*) FROM postbacks)"
)
#: What a server of one's own has, but for memory: both sides write into it.
_SERVER: Final = {"shared_buffers": "256MB", "max_wal_size": "4GB"}


Rows = tuple[list[Row], list[Row], list[Row]]
#: Wall and CPU seconds.
Taken = tuple[float, float]
Data = TypeVar("Data")


class Side(NamedTuple):
    """One way of writing; gives wall and CPU seconds of writing everything into a database."""

    name: str
    write: Callable[[str], Taken]


def run(plan: Plan) -> Result:
    """All sides in turn, each round in new databases. Raises `BenchError`."""
    changes = list(_changes(round(_POSTBACKS * plan.scale)))
    ready = [_rows(one.batch) for one in changes]
    texts = [tuple(map(_text, rows)) for rows in ready]
    count = sum(len(rows) for three in ready for rows in three)
    updates = sum(len(one.batch.states) for one in changes) - len({key for one in changes for key in one.batch.states})
    sides = (
        Side("sink", lambda url: _sink(url, changes)),
        Side("bare", lambda url: _barely(url, ready, _copy_rows)),
        Side("text", lambda url: _barely(url, texts, _copy_text)),
    )
    taken: dict[str, list[Taken]] = {side.name: [] for side in sides}
    with _server() as server:
        for number in range(plan.rounds):
            for side in sides:
                url = _database(server, f"{side.name}_{number}")
                taken[side.name].append(side.write(url))
                if (left := _count(url)) != count - updates:
                    raise BenchError(f"{side.name} left {left} rows behind, expected {count - updates}")
            told = ", ".join(f"{name} {count / rounds[-1][0]:,.0f}" for name, rounds in taken.items())
            plan.say(f"round {number + 1}: rows/s: {told}")
    return {"rows": count, "transactions": len(changes), **_result(count, taken)}


def _result(count: int, taken: dict[str, list[Taken]]) -> Result:
    found: Result = {}
    for name, rounds in taken.items():
        found[name] = {
            "rows_per_s": median(count / wall_s for wall_s, _ in rounds),
            "rows_per_s_spread": spread(count / wall_s for wall_s, _ in rounds),
            "rows_per_cpu_s": median(count / cpu_s for _, cpu_s in rounds),
        }
        for at, kind in enumerate(("", "_of_cpu")):
            pairs = zip(taken["sink"], rounds, strict=True)
            found[f"to_{name}{kind}"] = median(other[at] / ours[at] for ours, other in pairs)
    del found["to_sink"], found["to_sink_of_cpu"]
    return found


def _changes(count: int) -> Iterator[Changes]:
    """What the processor makes of ordinary traffic."""
    store, ids, position = ChangelogStore(), ReceiptIds(), 0
    processor = PartitionProcessor(normalize=NORMALIZER, store=store, cached_messages=count)
    bodies = traffic(count, seed=1)
    began_ms = time.time_ns() // 1_000_000
    for start in range(0, count, _PER_TRANSACTION):
        records = []
        for body in bodies[start : start + _PER_TRANSACTION]:
            at_ms = began_ms + position // _PER_MS
            postback = Postback("braze", "braze", KIND_POSTBACK, ids.next(at_ms), at_ms, "application/json", "", body)
            records.append(LogRecord(position, postback))
            position += 1
        accepted = {("braze", hour_of(iso_ms(began_ms))): len(records)}
        yield Changes(processor.handle(records), accepted, {("raw", 0): position})


def _rows(batch: Batch) -> Rows:
    """Of messages, transitions and postbacks, each numbered where its table has a number."""
    first = batch.receipts[0].record.position  # a transition's number need only grow
    return (
        [(number, *state_row(state)) for number, state in enumerate(batch.states.values())],
        [(first + number, *transition_row(one)) for number, one in enumerate(batch.transitions)],
        [postback_row(receipt) for receipt in batch.receipts],
    )


def _text(rows: Iterable[Row]) -> bytes:
    lines = ("\t".join(r"\N" if value is None else str(value).translate(_ESCAPES) for value in row) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _sink(url: str, changes: Iterable[Changes]) -> Taken:
    tables = PostgresTables(url)
    assert tables._db is not None
    try:
        with _timed(tables._db.info.backend_pid) as taken:
            for one in changes:
                tables.write_changes(one)
    finally:
        tables.close()
    return taken[0]


def _barely(url: str, all_data: Sequence[Sequence[Data]], write: Callable[[psycopg.Copy, Data], None]) -> Taken:
    PostgresTables(url).close()  # the same tables and indexes
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(STAGING)
        with _timed(connection.info.backend_pid) as taken:
            for three in all_data:
                with connection.transaction(), connection.cursor() as cursor:
                    for statement, data in zip((COPY_STATES, COPY_TRANSITIONS, COPY_POSTBACKS), three, strict=True):
                        with cursor.copy(statement) as copy:
                            write(copy, data)
                    cursor.execute(MERGE_STATES)
    return taken[0]


def _copy_rows(copy: psycopg.Copy, rows: list[Row]) -> None:
    for row in rows:
        copy.write_row(row)


def _copy_text(copy: psycopg.Copy, text: bytes) -> None:
    copy.write(text)


@contextmanager
def _timed(server_pid: int) -> Iterator[list[Taken]]:
    """Holds what the block took, once it is over."""
    taken: list[Taken] = []
    began_s, began_cpu_s = time.perf_counter(), time.process_time() + cpu_s(server_pid)
    yield taken
    taken.append((time.perf_counter() - began_s, time.process_time() + cpu_s(server_pid) - began_cpu_s))


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        (count,) = connection.execute(_COUNT).fetchone() or (0,)
        return int(count)


def _database(server: LocalPostgres, name: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute("CHECKPOINT")  # so that neither pays for what the other left
    return make_conninfo(server.url, dbname=name)


@contextmanager
def _server() -> Iterator[LocalPostgres]:
    try:
        server = LocalPostgres.create(options=_SERVER)
        try:
            server.start()
            yield server
        finally:
            server.remove()
    except PostgresError as error:
        raise BenchError(str(error)) from error
