"""Rows a second into Postgres as the tables sink writes them, beside a bare COPY and merge of the same rows.

Both are given everything in memory and write the same transactions, durably, into databases of one server.
The bare one gets its rows as the finished text of COPY: it makes no row, looks up no receipt, minds no
position, counts nothing and could set no row aside. Both must leave as many rows behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

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


class Bare(NamedTuple):
    """One transaction's rows as text of COPY."""

    states: bytes
    transitions: bytes
    postbacks: bytes


def run(plan: Plan) -> Result:
    """Both in turn, each round in new databases. Raises `BenchError`."""
    changes = list(_changes(round(_POSTBACKS * plan.scale)))
    texts = [_bare(one.batch) for one in changes]
    rows = sum(len(one.batch.states) + len(one.batch.transitions) + len(one.batch.receipts) for one in changes)
    ours, bare = [], []
    with _server() as server:
        for number in range(plan.rounds):
            ours.append(rows / _ours(_database(server, f"ours_{number}"), changes))
            bare.append(rows / _barely(_database(server, f"bare_{number}"), texts))
            plan.say(f"round {number + 1}: {ours[-1]:,.0f} rows/s, bare {bare[-1]:,.0f} rows/s")
            counts = {_count(make_conninfo(server.url, dbname=f"{kind}_{number}")) for kind in ("ours", "bare")}
            if len(counts) > 1:
                raise BenchError(f"both wrote the same, and left different numbers of rows behind: {counts}")
    return {
        "rows": rows,
        "transactions": len(changes),
        "rows_per_s": median(ours),
        "bare_rows_per_s": median(bare),
        "to_bare": median(one / other for one, other in zip(ours, bare, strict=True)),
        "rows_per_s_spread": spread(ours),
        "bare_rows_per_s_spread": spread(bare),
    }


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


def _bare(batch: Batch) -> Bare:
    return Bare(
        _text((number, *state_row(state)) for number, state in enumerate(batch.states.values())),
        # numbered by the first position, which grows: it need only be another each time
        _text(
            (batch.receipts[0].record.position + number, *transition_row(one))
            for number, one in enumerate(batch.transitions)
        ),
        _text(postback_row(receipt) for receipt in batch.receipts),
    )


def _text(rows: Iterator[Row]) -> bytes:
    lines = ("\t".join(r"\N" if value is None else str(value).translate(_ESCAPES) for value in row) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _ours(url: str, changes: Sequence[Changes]) -> float:
    """Seconds of writing."""
    tables = PostgresTables(url)
    try:
        began_s = time.perf_counter()
        for one in changes:
            tables.write_changes(one)
        return time.perf_counter() - began_s
    finally:
        tables.close()


def _barely(url: str, texts: Sequence[Bare]) -> float:
    """The same, with rows that are ready."""
    PostgresTables(url).close()  # the same tables and indexes
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(STAGING)
        began_s = time.perf_counter()
        for text in texts:
            with connection.transaction(), connection.cursor() as cursor:
                for statement, data in zip((COPY_STATES, COPY_TRANSITIONS, COPY_POSTBACKS), text, strict=True):
                    with cursor.copy(statement) as copy:
                        copy.write(data)
                cursor.execute(MERGE_STATES)
        return time.perf_counter() - began_s


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
