"""Whoever writes the SQLite file comes to a turn, however busy the processor is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sinks.tables import sqlite_turns
from sinks.tables.sqlite_turns import transaction

_BUSY = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
print("busy", flush=True)
while True:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO t VALUES (0)")
    time.sleep(0.05)
    db.execute("COMMIT")
"""


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Iterator[Path]:
    """A database that another process writes nearly always."""
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (n INTEGER)")
    with subprocess.Popen([sys.executable, "-c", _BUSY, str(path)], stdout=subprocess.PIPE) as busy:
        assert busy.stdout
        busy.stdout.readline()
        yield path
        busy.kill()


def connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def write_and_fail(db: sqlite3.Connection) -> None:
    with transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
        raise KeyError


def test_each_comes_to_a_turn(file: Path) -> None:
    started = time.monotonic()
    with closing(connected(file)) as db:
        for number in range(1, 4):
            with transaction(db):
                db.execute("INSERT INTO t VALUES (?)", (number,))
            time.sleep(0.2)  # the other one has it again
        assert db.execute("SELECT count(*) FROM t WHERE n > 0").fetchone() == (3,)
        assert db.execute("PRAGMA busy_timeout").fetchone() == (5_000,)
    assert time.monotonic() - started < sqlite_turns._PATIENCE_S


def test_what_fails_is_taken_back(tmp_path: Path) -> None:
    with closing(connected(tmp_path / "t.db")) as db:
        db.execute("CREATE TABLE t (n INTEGER)")
        with pytest.raises(KeyError):
            write_and_fail(db)
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_who_waits_in_vain_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_turns, "_PATIENCE_S", 0.05)
    with closing(connected(tmp_path / "t.db")) as other, closing(connected(tmp_path / "t.db")) as db:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), transaction(db):
            pass
