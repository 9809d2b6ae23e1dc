"""`sendtrace erase` of tables and their Parquet files together, and of a Postgres that has its settings elsewhere."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow.parquet as pq
import pytest

from schemas.personal import Digests, values_of
from sendtrace.data_paths import DataPaths
from sendtrace.erase import Found, Places, erase
from sinks.parquet.root import open_root
from sinks.parquet.sqlite_source import SqliteRows
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.parquet_rig import export_all
from tests.integration.test_erase_tables import ANN, BOB, DIGESTS, NOW, SECRET, SENT, Sealed
from tests.unit.cli_rig import Shell


class Kept:
    """Tables of a data directory and the Parquet files of them."""

    def __init__(self, directory: Path) -> None:
        self.paths = DataPaths(directory / "data")
        self.files = directory / "parquet"
        self.paths.directory.mkdir()
        with closing(SqliteSink(self.paths.tables, DIGESTS)) as sink:
            sink.write_changes(Sealed().fold(*SENT))
        with closing(SqliteRows(self.paths.tables)) as rows:
            export_all(rows, open_root(str(self.files)), bodies=True)

    def erase(self, recipient: str, *, apply: bool) -> Found:
        places = Places(paths=self.paths, settings=None, parquet=str(self.files))
        return erase(places, values_of(recipient), DIGESTS, erased_at=NOW, apply=apply)

    def rows(self) -> dict[str, list[str]]:
        """Every row of every file as text."""
        names = sorted(self.files.rglob("*.parquet"))
        return {name.name: [_text(row) for row in pq.ParquetFile(name).read().to_pylist()] for name in names}


def _text(row: dict[str, Any]) -> str:
    return str({name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}).lower()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_files_lose_the_recipient_and_nothing_else(kept: Kept) -> None:
    before, bytes_before = kept.rows(), {path: path.read_bytes() for path in kept.files.rglob("*.parquet")}
    dry = kept.erase(ANN, apply=False)
    assert {path: path.read_bytes() for path in kept.files.rglob("*.parquet")} == bytes_before

    done = kept.erase(ANN, apply=True)

    after = kept.rows()
    assert done == dry
    assert (done.parquet_files or 0) > 0
    assert any(ANN in row for rows in before.values() for row in rows)
    assert not any(ANN in row or "ann.example" in row for rows in after.values() for row in rows)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    for name, rows in before.items():
        assert [row for row in rows if BOB in row] == [row for row in after[name] if BOB in row]
    assert kept.erase(ANN, apply=True).parquet_files == 0


def test_the_list_is_in_the_directory_before_anything_is_deleted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sinks.tables.sqlite_erase.forget_messages", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.erase(ANN, apply=True)

    listed = [json.loads(line) for line in kept.paths.erasures.read_text().splitlines()]
    assert [one["shape"] for one in listed] == ["address", "message"]
    assert ANN not in kept.paths.erasures.read_text()


URL_VARIABLE: Final = "SENDTRACE_TABLES__POSTGRES"
KEY_VARIABLE: Final = "SENDTRACE_PERSONAL__KEY"


@pytest.fixture
def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(URL_VARIABLE, postgres_url)
    monkeypatch.setenv("SENDTRACE_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    return Shell(tmp_path, capsys)


def test_postgres_is_erased_and_made_anew_by_commands(shell: Shell, postgres_url: str) -> None:
    with closing(PostgresTables(postgres_url, digests=Digests(SECRET))) as writer:
        writer.write_changes(Sealed().fold(*SENT))

    done = shell(f"erase {ANN} --yes")
    assert (done.code, done.err) == (0, "")
    assert ANN not in done.out
    assert "The topics keep these records" in done.out
    assert shell("erasures export list.jsonl").out == "2 entries in list.jsonl\n"
    assert "nothing is there" in shell(f"erase {ANN} --dry-run").out

    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert shell("erasures import list.jsonl").out == "2 entries taken in\n"
    with closing(PostgresTables(postgres_url, digests=Digests(SECRET))) as writer:
        writer.write_changes(Sealed().fold(*SENT))
    with psycopg.connect(postgres_url) as db:
        texts = str(db.execute("SELECT t FROM transitions AS t").fetchall()).lower()
    assert (ANN in texts, BOB in texts) == (False, True)


@pytest.mark.parametrize("command", [f"erase {ANN} --dry-run", "erasures import list.jsonl"])
def test_without_a_key_in_the_settings_it_says_what_to_do(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    Path("list.jsonl").touch()
    done = shell(command)

    assert done.code == 1
    assert done.err.startswith("sendtrace: personal.key is not set, expected the same key on every role")


def test_encrypted_needs_a_key_on_kafka(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv("SENDTRACE_PERSONAL__MODE", "encrypted")
    for command in ("worker", "sink tables"):
        done = shell(command)

        assert done.code == 2
        assert "personal.key is not set" in done.err


@pytest.mark.parametrize("line", ["", "{}", "no json", '{"digest": "x", "shape": "address", "chars": 1}'])
def test_a_file_that_is_no_list_is_refused_by_its_line(shell: Shell, line: str) -> None:
    Path("list.jsonl").write_text(f"{line}\n")
    done = shell("erasures import list.jsonl")

    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "line 1 is no entry of a list of erasures" in done.err
