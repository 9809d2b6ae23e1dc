"""`sendtrace audit`: the sum, and an exit code that a script can trust."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.records import Audit
from tests.integration.read_rig import Plant, Sent, braze, nrs
from tests.unit.cli_rig import Shell


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as plant:
        yield plant


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def test_what_became_of_every_body_is_shown_by_source_and_hour(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "sent"), Sent(b"no"), nrs("id=n1&channel=sms&event=sent"))
    plant.keep(braze("d2", "sent"))
    ran = shell("audit --data .")

    assert [line.split() for line in ran.lines] == [
        ["source", "hour", "(UTC)", "accepted", "applied", "duplicates", "dead", "pending"],
        ["braze", "2020-09-01", "00:00", "4", "1", "1", "1", "1"],
        ["nrs", "2020-09-01", "00:00", "1", "1", "0", "0", "0"],
        [
            "balanced:",
            "5",
            "accepted",
            "=",
            "2",
            "applied",
            "+",
            "1",
            "duplicates",
            "+",
            "1",
            "dead",
            "+",
            "1",
            "pending",
        ],
    ]
    assert ran.code == 0


def test_a_body_that_is_missing_is_told_and_ends_with_1(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"), braze("d2", "sent"))
    with sqlite3.connect(plant.paths.tables) as db:
        db.execute("UPDATE audit SET applied = applied - 1")
    db.close()
    ran = shell("audit --data .")

    assert ran.code == 1
    assert ran.lines[1].split()[-1] == "1"
    assert ran.lines[-1] == ("NOT BALANCED: 2 accepted, but 1 applied + 0 duplicates + 0 dead + 0 pending: 1 missing")


def test_json_is_the_record_of_the_read_api(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"))
    audit = decode(Audit, shell("audit --data . --json").out.encode())

    assert (audit["accepted"], audit["applied"], audit["balanced"]) == (1, 1, True)


def test_a_directory_without_tables_is_one_line(shell: Shell) -> None:
    ran = shell("audit --data nowhere")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "sendtrace: nowhere: holds no tables of sendtrace; run `sendtrace up` first, or name another with --data\n"
    )
