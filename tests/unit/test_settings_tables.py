"""`[tables]`: what is taken for a Postgres, and that its password is shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.times import epoch_ms
from sendtrace.settings import Settings, SettingsError, load
from sendtrace.tables_store import retention_of
from sinks.tables.changes import Retention

SOURCE = f'[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{"ab" * 32}"]\n'
URL = "postgresql://me:hunter2@127.0.0.1:5432/sendtrace"


@pytest.fixture(autouse=True)
def no_postgres_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves have been given one."""
    monkeypatch.delenv("SENDTRACE_TABLES__POSTGRES", raising=False)


def settings(tmp_path: Path, table: str) -> Settings:
    path = tmp_path / "sendtrace.toml"
    path.write_text(f"{SOURCE}[tables]\n{table}\n", encoding="utf-8")
    return load(path)


def test_without_one_the_tables_are_in_sqlite(tmp_path: Path) -> None:
    assert settings(tmp_path, "").tables.postgres is None


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgres://me@db.example.org/sendtrace?sslmode=verify-full",
        "host=/run/postgresql dbname=sendtrace user=me password=hunter2",
        "postgresql:///sendtrace",
    ],
)
def test_what_libpq_reads_is_taken_as_it_is(tmp_path: Path, url: str) -> None:
    postgres = settings(tmp_path, f'postgres = "{url}"').tables.postgres

    assert postgres is not None
    assert postgres.get_secret_value() == url


def test_it_comes_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", URL)
    postgres = settings(tmp_path, 'postgres = "host=another dbname=x"').tables.postgres

    assert postgres is not None
    assert postgres.get_secret_value() == URL


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"hunter2"', "(libpq cannot read it)"),
        ('"postgresql://me:hunter2@[::1/x"', "(libpq cannot read it)"),
        ('"mysql://me:hunter2@db/x"', "(libpq cannot read it)"),
        ('"hots=db password=hunter2"', "(libpq cannot read it)"),
        ('"postgresql://me:hunter2@db"', "(it names no database)"),
        ('""', ""),
        ("2", ""),
    ],
)
def test_anything_else_is_one_line_without_the_password(tmp_path: Path, value: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, f"postgres = {value}")
    (line,) = caught.value.faults

    assert line.startswith(f"{tmp_path}/sendtrace.toml: tables.postgres: got something else, not shown")
    assert f"{why}, expected postgresql://USER:PASSWORD@HOST:5432/DATABASE, or the same as key=value text;" in line
    assert "hunter2" not in line


def test_it_is_masked_wherever_settings_are_shown(tmp_path: Path) -> None:
    found = settings(tmp_path, f'postgres = "{URL}"')

    assert found.masked()["tables"] == {"postgres": "***", "transitions_retention_days": 400}
    assert "hunter2" not in json.dumps(found.masked()) + repr(found)


def test_retention_is_counted_back_from_now(tmp_path: Path) -> None:
    found = retention_of(settings(tmp_path, "transitions_retention_days = 31"), epoch_ms("2020-09-01T12:00:00.000Z"))

    assert found == Retention(
        dead_letters_before="2020-06-03T12:00:00.000Z", transitions_before="2020-08-01T12:00:00.000Z"
    )


@pytest.mark.parametrize("days", ["0", "-1", "40000", '"long"'])
def test_a_retention_that_is_none_is_refused(tmp_path: Path, days: str) -> None:
    with pytest.raises(SettingsError, match=r"transitions_retention_days: .*expected a whole number of days from 1 to"):
        settings(tmp_path, f"transitions_retention_days = {days}")
