"""The demo's directory: fresh each time, never somebody else's files, one demo at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sendtrace.demo_data import DemoError, demo_data
from sendtrace.settings import load
from sendtrace.tokens import digest_of


def test_its_settings_can_be_used_and_hold_only_digests(tmp_path: Path) -> None:
    with demo_data(tmp_path / "demo") as made:
        settings = load(made.config)

    assert {name: (digest_of(token),) for name, token in made.tokens.items()} == {
        name: source.token_sha256 for name, source in settings.sources.items()
    }
    assert settings.storage.directory == tmp_path / "demo"
    assert not any(token in made.config.read_text() for token in made.tokens.values())
    assert stat.S_IMODE(made.config.stat().st_mode) == 0o600


def test_a_second_demo_starts_from_nothing(tmp_path: Path) -> None:
    with demo_data(tmp_path) as first:
        (tmp_path / "raw").mkdir()
        (tmp_path / "raw" / "0.log").write_bytes(b"old")
        (tmp_path / "tables.db-wal").write_bytes(b"old")
    with demo_data(tmp_path) as second:
        assert not (tmp_path / "raw").exists()
        assert not (tmp_path / "tables.db-wal").exists()

    assert first.tokens != second.tokens


def test_what_a_person_put_there_stays(tmp_path: Path) -> None:
    with demo_data(tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
    with demo_data(tmp_path):
        pass

    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_directory_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tables.db").write_bytes(b"real")

    with pytest.raises(DemoError, match="no demo made"), demo_data(tmp_path):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["tables.db"]


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    with demo_data(tmp_path) as first:
        with pytest.raises(DemoError, match="a demo is running here"), demo_data(tmp_path):
            pass
        assert first.config.is_file()
