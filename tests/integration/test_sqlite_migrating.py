"""The SQLite tables of an earlier release are brought up to date while somebody reads them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from sinks.tables.migrations import load, migrate
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_writer import MIGRATIONS_PACKAGE, SqliteTables
from tests.integration.read_rig import Plant, braze

_MESSAGES = 300
#: Beyond what the last release made, so that there is something to do.
_LAST_RELEASE = 3


def made_by_the_last_release(directory: Path) -> Path:
    """Tables with messages, as before the newer migrations: their rows put into tables of the older ones."""
    with Plant(directory / "new") as plant:
        plant.paths.directory.mkdir()
        plant.fold(*(braze(f"d{number}", "bounced", reason="550 no") for number in range(_MESSAGES)))
        source = plant.paths.tables
    path = directory / "tables.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, load(MIGRATIONS_PACKAGE)[:_LAST_RELEASE])
        connection.execute("ATTACH ? AS newer", (str(source),))
        for table in ("messages", "transition_log", "postbacks", "audit", "progress"):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")  # noqa: S608  ours
    return path


def test_readers_read_on_and_find_the_views_when_it_is_done(tmp_path: Path) -> None:
    path = made_by_the_last_release(tmp_path)
    seen: list[int] = []
    over, began = threading.Event(), threading.Event()

    def read() -> None:
        with closing(SqliteReader(path)) as reader:
            while not over.is_set():
                seen.append(reader.counts_by_status()["bounced"])
                began.set()

    thread = threading.Thread(target=read)
    thread.start()
    began.wait(10)
    with closing(sqlite3.connect(path)) as somebody:
        before = somebody.execute("SELECT count(*) FROM messages")  # its snapshot stays open all the while
        SqliteTables(path).close()
        assert before.fetchone() == (_MESSAGES,)
    over.set()
    thread.join(10)

    assert set(seen) == {_MESSAGES}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT sum(bounced) FROM campaign_hourly").fetchone() == (_MESSAGES,)
        assert connection.execute("SELECT sum(messages) FROM failure_reasons").fetchone() == (_MESSAGES,)
