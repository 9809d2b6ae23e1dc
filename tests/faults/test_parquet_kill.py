"""`sendtrace sink parquet` and `export` killed at random moments while tables grow: each row is in one whole file."""

from __future__ import annotations

import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from sendtrace.metrics import PARQUET
from sinks.tables.sqlite_sink import SqliteSink
from tests.e2e.program import Program, environment, running
from tests.integration.parquet_rig import files_of, in_files, in_sqlite, some_rows
from tests.postgres.changes_rig import Stream

_KILLS = 3
_PATIENCE_S = 40.0
_SINK = ("sink", "parquet", "--data", "data", "--to", "parquet")


class Growing:
    """Tables that get some hundred rows whenever there is time for it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "data" / "tables.db"
        self.path.parent.mkdir()
        (directory / "data" / "raw").mkdir()  # as `sendtrace up` leaves it: no Kafka, whatever the environment says
        (directory / "data" / "sendtrace.toml").touch()
        self._writer = SqliteSink(self.path)
        self._stream = Stream()
        self._made = 0

    def grow(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """For a while, or until something holds; whether it does."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self._writer.write_changes(self._stream.fold_again(some_rows(self._stream, 200, first=self._made)))
            self._made += 200
            if until():
                return True
            time.sleep(0.02)
        return False

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def env() -> dict[str, str]:
    rolls = {"SENDTRACE_PARQUET__ROLL_SECONDS": "1", "SENDTRACE_PARQUET__ROLL_ROWS": "300"}
    return environment(SENDTRACE_ADMIN__PORT="0", **rolls)


def whole_files(directory: Path) -> dict[str, bytes]:
    """All with a name; each can be read to its end."""
    found = files_of(directory / "parquet")
    for name in found:
        pq.read_table(directory / "parquet" / name)
    return found


def _more_than(directory: Path, count: int) -> Callable[[], bool]:
    return lambda: len(files_of(directory / "parquet")) > count


def has_all(directory: Path, path: Path) -> bool:
    return len(in_files(directory / "parquet", "transitions")) == len(in_sqlite(path, "transitions"))


def readiness(program: Program) -> dict[str, object]:
    address = program.wait_for("ready").split()[1]
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310  ours, on loopback
                found: dict[str, object] = orjson.loads(answer.read())
            with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:  # noqa: S310  as above
                metrics = answer.read().decode()
            return {**found, "told": [metric.name for metric in PARQUET if f"\n{metric.name} " in metrics]}
        except urllib.error.HTTPError:
            time.sleep(0.05)
    pytest.fail("it does not become ready")


@pytest.mark.timeout(180)  # six programs one after the other
def test_a_sink_killed_again_and_again_writes_each_row_once_and_only_whole_files(
    tmp_path: Path, env: dict[str, str]
) -> None:
    chance = random.Random(5)
    names: dict[str, bytes] = {}
    with closing(Growing(tmp_path)) as tables:
        for _ in range(_KILLS):
            with running(*_SINK, cwd=tmp_path, env=env) as sink:
                sink.wait_for("ready")
                tables.grow(_PATIENCE_S, until=_more_than(tmp_path, len(names)))
                tables.grow(chance.random())
                sink.process.kill()
                sink.end()
            now = whole_files(tmp_path)
            assert names.items() <= now.items()
            names = now
        with running(*_SINK, cwd=tmp_path, env=env) as sink:
            state = readiness(sink)
            deadline_s = time.monotonic() + _PATIENCE_S
            while not has_all(tmp_path, tables.path) and time.monotonic() < deadline_s:
                time.sleep(0.2)
            assert sink.interrupt() == 0

    assert state["ready"] is True
    assert state["told"] == [metric.name for metric in PARQUET]
    assert in_files(tmp_path / "parquet", "transitions") == in_sqlite(tables.path, "transitions")
    assert list((tmp_path / "parquet").rglob("*.tmp")) == []


@pytest.mark.timeout(120)  # the same
def test_an_export_killed_at_random_moments_is_mended_by_the_next(tmp_path: Path, env: dict[str, str]) -> None:
    chance = random.Random(7)
    export = ("export", "--since", "2020-01-01", "--data", "data", "--to", "parquet")
    with closing(Growing(tmp_path)) as tables:
        tables.grow(1.0)
        for _ in range(3):
            with running(*export, cwd=tmp_path, env=env) as killed:
                time.sleep(0.5 + chance.random())
                killed.process.kill()
                killed.end()
            whole_files(tmp_path)
        with running(*export, cwd=tmp_path, env=env) as last:
            assert last.end() == 0, last.errors

    assert in_files(tmp_path / "parquet", "transitions") == in_sqlite(tables.path, "transitions")
    assert list((tmp_path / "parquet").rglob("*.tmp")) == []
