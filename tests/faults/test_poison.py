"""A body that breaks the processor becomes a dead letter; nothing before or behind it is held up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typing_extensions import override

from schemas.batch import Batch
from sendtrace.data_paths import DataPaths
from sendtrace.processor_loop import AlreadyRunningError, Retried, processor_lock, retry_now
from sinks.tables.sqlite_writer import SqliteTables
from tests.faults.poison_rig import ENDS, RAISES, good, handle_all, open_fragile, write_log


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(tmp_path)


def ask(paths: DataPaths, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(paths.tables)) as database:
        return database.execute(query).fetchall()


def test_a_hundred_raising_bodies_among_ten_thousand_are_the_only_dead_letters(paths: DataPaths) -> None:
    write_log(paths, [RAISES if number % 100 == 50 else good(number) for number in range(10_000)])

    handle_all(open_fragile(paths)[0])

    assert ask(paths, "SELECT applied, duplicates, dead FROM audit") == [(9_900, 0, 100)]
    assert ask(paths, "SELECT DISTINCT stage, reason FROM dead_letters") == [("process", "processing_error")]


def test_a_body_that_ends_the_process_is_put_aside_after_three_ends(paths: DataPaths) -> None:
    write_log(paths, [good(1), good(2), ENDS, good(3)])
    script = Path(__file__).with_name("poison_rig.py")

    codes = []
    for manner in ("plain", *["careful"] * 4):
        done = subprocess.run(
            [sys.executable, str(script), str(paths.directory), manner],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=False,
        )
        codes.append(done.returncode)

    assert codes == [-6, -6, -6, 0, 0]
    assert ask(paths, "SELECT reason, body FROM dead_letters") == [("process_killed", ENDS)]
    assert ask(paths, "SELECT count(*) FROM messages") == [(3,)]


def test_a_retry_after_the_fix_applies_each_body_once(paths: DataPaths) -> None:
    write_log(paths, [good(1), RAISES, RAISES])
    loop, tables, normalize = open_fragile(paths)
    handle_all(loop)
    request_all(paths)

    assert loop.retry_dead() == Retried(applied=0, refused=2)
    normalize.mended = True
    request_all(paths)
    assert loop.retry_dead() == Retried(applied=2, refused=0)
    request_all(paths)
    assert loop.retry_dead() == Retried(applied=0, refused=0)

    tables.close()
    assert ask(paths, "SELECT applied, duplicates, dead FROM audit") == [(2, 1, 0)]
    assert ask(paths, "SELECT effect FROM postbacks ORDER BY position") == [("applied",), ("applied",), ("duplicate",)]
    assert ask(paths, "SELECT count(*) FROM transitions") == [(2,)]


def request_all(paths: DataPaths) -> None:
    with closing(sqlite3.connect(paths.tables)) as database, database:
        database.execute("UPDATE dead_letters SET retry_requested_at = 'now' WHERE retried_at IS NULL")


def test_a_retry_beside_a_working_processor_is_refused(paths: DataPaths) -> None:
    write_log(paths, [good(1)])

    with processor_lock(paths, wait=False), pytest.raises(AlreadyRunningError, match="another sendtrace"):
        retry_now(paths, rules=None, clock=open_fragile(paths)[0]._clock)


class Failing(SqliteTables):
    """Tables whose disk is full once."""

    failures = 1

    @override
    def write_position(self, position: int, partition: int = 0) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        super().write_position(position, partition)


def test_a_failed_write_is_tried_again_and_applies_once(paths: DataPaths) -> None:
    write_log(paths, [good(1), good(1), good(2)])
    loop, tables, _ = open_fragile(paths)
    tables.__class__ = Failing  # the same open file, with one failure ahead

    with pytest.raises(sqlite3.OperationalError):
        loop.step()
    handle_all(loop)

    assert ask(paths, "SELECT applied, duplicates, dead FROM audit") == [(2, 1, 0)]
    assert ask(paths, "SELECT seq, version FROM messages") == [(1, 2), (2, 1)]


class Refusing(SqliteTables):
    """Tables that cannot hold one message, for a reason that is not the disk's."""

    @override
    def write(self, batch: Batch) -> None:
        if any(state["dispatch_id"] == "d7" for state in batch.states.values()):
            raise OverflowError("too large for a column")
        super().write(batch)


def test_a_record_the_tables_refuse_is_put_aside_alone(paths: DataPaths) -> None:
    write_log(paths, [good(number) for number in range(400)])
    loop, tables, _ = open_fragile(paths)
    tables.__class__ = Refusing

    handle_all(loop)

    assert ask(paths, "SELECT reason, detail FROM dead_letters") == [
        ("processing_error", "OverflowError while the body was processed")
    ]
    assert ask(paths, "SELECT count(*), max(seq) FROM messages") == [(399, 399)]
    assert ask(paths, "SELECT applied, dead FROM audit") == [(399, 1)]
