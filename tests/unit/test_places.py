"""The rule by which a command reads an embedded data directory, or the tables of the roles on Kafka."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from sendtrace.commands.common import TroubleError
from sendtrace.commands.places import place_of
from sendtrace.init_config import write_initial
from sendtrace.kafka_topics import BrokerError
from sendtrace.read_side import LogView
from sendtrace.settings import SettingsError
from tests.unit.cli_rig import Shell

BROKER = "127.0.0.1:1"
POSTGRES = "postgresql://reader:secret@127.0.0.1:1/tables"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with tables, settings beside it, and a broker in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENDTRACE_KAFKA", BROKER)
    write_initial(tmp_path / "sendtrace.toml")
    directory = tmp_path / "sendtrace-data"
    directory.mkdir()
    (directory / "tables.db").touch()
    return directory


def test_brokers_in_the_settings_mean_kafka(data: Path) -> None:
    by_settings, by_option = place_of(None, None), place_of(None, data)

    assert by_settings.settings is not None
    assert by_option.settings is not None
    assert by_option.paths.directory == data


@pytest.mark.parametrize("named", [True, False])
def test_a_raw_log_in_the_directory_means_up_whatever_the_settings_say(data: Path, *, named: bool) -> None:
    (data / "raw").mkdir()
    place = place_of(None, data if named else None)

    assert place.settings is None
    with closing(place.open_log()) as log:
        assert isinstance(log, LogView)


def test_without_brokers_it_is_a_directory_of_up(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDTRACE_KAFKA")

    assert place_of(None, data).settings is None
    assert place_of(None, None).settings is None


def test_a_directory_alone_needs_no_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDTRACE_KAFKA")
    Path("sendtrace.toml").unlink()

    assert place_of(None, data).settings is None


def test_brokers_in_the_environment_are_settings_enough(data: Path) -> None:
    Path("sendtrace.toml").unlink()

    assert place_of(None, data).settings is not None


def test_a_raw_log_is_read_beside_settings_that_are_wrong(data: Path) -> None:
    Path("sendtrace.toml").write_text("x = 1", encoding="utf-8")
    with pytest.raises(SettingsError):
        place_of(None, data)
    (data / "raw").mkdir()

    assert place_of(None, data).settings is None


def test_tables_that_are_not_made_yet_are_told_with_what_makes_them(data: Path) -> None:
    (data / "tables.db").unlink()

    with pytest.raises(TroubleError, match="run `sendtrace sink tables` with this directory first"):
        place_of(None, None)


def test_tables_in_postgres_need_no_directory(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", POSTGRES)
    (data / "tables.db").unlink()
    data.rmdir()

    assert place_of(None, None).settings is not None


def test_postgres_without_brokers_shows_no_bodies_and_cannot_count(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDTRACE_KAFKA")
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", POSTGRES)
    place = place_of(None, data)
    with closing(place.open_log()) as log:
        assert not isinstance(log, LogView)
        assert log.body_at(0) is None
        with pytest.raises(BrokerError, match=r"kafka\.bootstrap_servers is empty"):
            log.count_pending({})


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("command", ["show d1", "audit", "dead list", "tail"])
def test_a_postgres_that_is_away_is_one_line_without_its_password(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", POSTGRES)
    ran = Shell(tmp_path, capsys)(command)

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith("sendtrace: tables: ")
    assert "secret" not in ran.err
