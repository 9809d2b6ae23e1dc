"""Parquet on S3: the same files, by way of a real HTTP server that speaks S3 (moto's), and what it says in trouble."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sinks.parquet.rewrite import rewrite
from sinks.parquet.rolls import NOTE, Limits
from sinks.parquet.root import Root, open_root
from sinks.parquet.sqlite_source import SqliteRows
from sinks.parquet.trouble import ParquetError
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import LIMITS, crashing, export_all, in_sqlite, of_some_days, roll_all
from tests.postgres.changes_rig import Stream

_READY_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server with an empty bucket `bucket`."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _make_bucket(address)
        yield address
    finally:
        server.kill()
        server.wait()


def _make_bucket(address: str) -> None:
    deadline_s = time.monotonic() + _READY_WITHIN_S
    request = urllib.request.Request(f"{address}/bucket", method="PUT")  # noqa: S310  ours, on loopback
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310  as above
        except urllib.error.URLError:
            assert time.monotonic() < deadline_s, "moto's server does not answer"
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def root(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Root:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return open_root(f"s3://bucket/{tmp_path.name}", environment={"AWS_ENDPOINT_URL": endpoint})


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[SqliteRows]:
    with closing(SqliteSink(tmp_path / "tables.db")) as writer:
        writer.write_changes(Stream().fold_again(of_some_days()))
    with closing(SqliteRows(tmp_path / "tables.db")) as opened:
        yield opened


def seqs(root: Root) -> list[int]:
    return sorted(seq for name in root.parquet_files("transitions") for seq in root.read_table(name)["seq"].to_pylist())


def test_an_export_and_the_same_again(root: Root, rows: SqliteRows, tmp_path: Path) -> None:
    first = export_all(rows, root)
    again = export_all(rows, root)

    assert first.written == again.written == len(root.parquet_files()) > 5
    assert seqs(root) == [row[0] for row in in_sqlite(tmp_path / "tables.db", "transitions")]


@pytest.mark.parametrize("names", [0, 2, 5])
def test_a_sink_that_was_killed_goes_on_where_the_objects_end(
    root: Root, rows: SqliteRows, tmp_path: Path, names: int
) -> None:
    with crashing(root, names), pytest.raises(KeyboardInterrupt):
        roll_all(rows, root, Limits(LIMITS.bytes, 70))
    roll_all(rows, root, Limits(LIMITS.bytes, 90))

    assert seqs(root) == [row[0] for row in in_sqlite(tmp_path / "tables.db", "transitions")]
    assert root.read_json(NOTE) is not None


def test_objects_are_rewritten(root: Root, rows: SqliteRows) -> None:
    roll_all(rows, root)

    done = rewrite(root, lambda table: table.filter(pa.compute.greater(table["seq"], 3)))

    assert done.rewritten + done.removed > 0
    assert seqs(root)[0] == 4


def test_an_object_of_many_parts_is_whole(root: Root, tmp_path: Path) -> None:
    made = tmp_path / "large.tmp"
    numbers = pa.table({"seq": pa.array(range(3_000_000), pa.int64())})
    pq.write_table(numbers, made, compression="none", use_dictionary=False)
    assert made.stat().st_size > 20_000_000

    root.publish(made, "transitions/large.parquet")

    assert root.rows_of("transitions/large.parquet") == 3_000_000
    assert not made.exists()


def test_a_bucket_that_is_not_there_is_one_line(endpoint: str, root: Root, rows: SqliteRows) -> None:
    elsewhere = open_root("s3://no-such-bucket/x", s3_endpoint=endpoint)

    with pytest.raises(ParquetError, match=r"^s3://no-such-bucket/x\S*: there is no such bucket; make it first$"):
        export_all(rows, elsewhere)
    assert root.parquet_files() == []


def test_a_server_that_is_not_there_is_one_line(root: Root) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    away = open_root("s3://bucket/x", s3_endpoint=f"http://127.0.0.1:{port}")

    with pytest.raises(ParquetError, match=r"^s3://bucket/x: cannot be reached; look at the network"):
        away.exists(NOTE)
    assert root.url.startswith("s3://bucket/")
