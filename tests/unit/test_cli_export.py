"""`sendtrace export`: what it prints, the words it takes for times, and its mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sendtrace.commands import export
from sendtrace.parquet_export import whole_hours
from sendtrace.spans import moment_ms
from tests.integration.read_rig import Plant, braze
from tests.unit.cli_rig import Shell
from tests.unit.project_tree import ROOT

NOON_MS = 1_598_961_600_000  # 2020-09-01T12:00:00Z


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with Plant(tmp_path / "data") as plant:
        plant.fold(braze("d1", "sent"), braze("d1", "bounced", reason="550 no"))
    return Shell(tmp_path, capsys)


def test_it_says_what_it_wrote_where(shell: Shell) -> None:
    ran = shell("export --since 2020-08-31 --until 2020-09-02 --to out --data data")

    assert ran.code == 0
    assert ran.lines[0] == "2020-08-31T00:00 to 2020-09-02T00:00 UTC, in out"
    assert ran.lines[1].split()[:5] == ["transitions", "2", "rows", "1", "files"]
    assert [line.split()[0] for line in ran.lines[1:]] == ["transitions", "messages", "dead_letters", "incidents"]
    assert len(list(Path("out").rglob("*.parquet"))) == 2


def test_only_the_tables_that_were_asked_for(shell: Shell) -> None:
    shell("export --since 2020-08-31 --to out --data data --table messages --table messages")

    assert [path.parts[1] for path in Path("out").rglob("*.parquet")] == ["messages"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--since tomorrow --to out", "Invalid value for --since: 'tomorrow' says no time, expected a length such as"),
        ("--since 1d --until 2d --to out", "Invalid value for --until: it has to be after --since; see"),
        ("--since 999999d --to out", "Invalid value for --"),
        ("--since 1d", "Invalid value for --to: say where: a directory, or s3://BUCKET/PREFIX; see"),
        ("--to out", "Missing option '--since'; see"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(shell: Shell, options: str, told: str) -> None:
    ran = shell(f"export --data data {options}")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"sendtrace: {told}")


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("ftp://x/y", "ftp://x/y: expected a directory, or s3://BUCKET/PREFIX"),
        ("s3://", "expected s3://BUCKET/PREFIX; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("s3://key:secret@bucket/x", "expected s3://BUCKET/PREFIX; keys come from AWS_ACCESS_KEY_ID and"),
        ("data/tables.db", "data/tables.db: File exists"),
    ],
)
def test_a_place_that_can_be_none_is_one_line(shell: Shell, place: str, told: str) -> None:
    ran = shell(f"export --data data --since 1d --to {place}")

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith(f"sendtrace: {told}")


@pytest.mark.parametrize("command", ["export --since 1d --to out --data data", "sink parquet --to out --data data"])
def test_without_pyarrow_it_says_how_to_get_it(shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(export, "find_spec", lambda _name: None)
    ran = shell(command)

    assert ran.code == 1
    assert ran.err.startswith("sendtrace: Parquet needs pyarrow, which is not installed; run: ")
    assert ran.err.rstrip().endswith(f"-m pip install {export.PYARROW}")


def test_the_release_of_pyarrow_it_names_is_that_of_the_extra() -> None:
    assert f'parquet = ["{export.PYARROW}"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "ago_ms"),
    [
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("90m", 5_400_000),
        ("2020-09-01", 43_200_000),
        ("2020-09-01T11:30", 1_800_000),
        ("2020-09-01T11:30:00+02:00", 9_000_000),
        ("2020-09-01T12:00:00Z", 0),
    ],
)
def test_a_time_is_an_age_or_a_moment(text: str, ago_ms: int) -> None:
    assert moment_ms(text, NOON_MS) == NOON_MS - ago_ms


def test_a_span_is_made_of_whole_hours() -> None:
    assert whole_hours(NOON_MS + 1, NOON_MS + 3_600_001) == ("2020-09-01T12:00:00.000Z", "2020-09-01T14:00:00.000Z")
    assert whole_hours(NOON_MS, NOON_MS + 3_600_000) == ("2020-09-01T12:00:00.000Z", "2020-09-01T13:00:00.000Z")
    with pytest.raises(ValueError, match="not after"):
        whole_hours(NOON_MS, NOON_MS)
