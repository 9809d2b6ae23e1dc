"""How a command ends: one clear line for a mistake, the promised exit codes, help with an example that holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import pytest
from typer.main import get_command

from sendtrace.cli import app
from tests.integration.read_rig import Plant, braze
from tests.unit.cli_rig import Shell
from tests.unit.test_docs_paths import unknown_commands


class Option(Protocol):
    """A parameter of a command, as typer has it."""

    name: str
    help: str | None


class Command(Protocol):
    """A command or, with commands of its own, a group."""

    help: str | None
    params: list[Option]
    commands: dict[str, Command]


def commands(command: Command, words: str = "") -> Iterator[tuple[str, Command]]:
    """Every command by its words, groups left out."""
    if not hasattr(command, "commands"):
        yield words.strip(), command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, f"{words} {name}")


COMMANDS = dict(commands(cast(Command, get_command(app))))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def test_the_commands_are_those_of_the_interface() -> None:
    assert set(COMMANDS) == {
        *(
            "init",
            "up",
            "gateway",
            "demo",
            "sandbox",
            "show",
            "tail",
            "audit",
            "report",
            "check",
            "config show",
            "schemas export",
        ),
        *("incidents list", "incidents show", "incidents ack", "incidents silence", "incidents unsilence"),
        *("incidents silences", "incidents resolve"),
        *("dead list", "dead show", "dead retry", "token new", "token rotate", "token retire"),
        *("erase", "erasures export", "erasures import"),
        *("worker", "sink tables", "sink incidents", "sink parquet", "web", "export"),
        *("sink notifications", "alerts targets", "alerts test"),
        *("topics create", "topics show"),
    }


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(words: str) -> None:
    example = re.search(r"Example: sendtrace (.*)", COMMANDS[words].help or "")

    assert example is not None
    assert example[1].startswith(words)
    assert unknown_commands(example[1]) == []


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_says_what_it_does(words: str) -> None:
    assert [parameter.name for parameter in COMMANDS[words].params if not getattr(parameter, "help", None)] == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sho x", "No such command 'sho'. Did you mean 'show'?; see `sendtrace --help`"),
        ("show", "Missing argument 'ID'; see `sendtrace show --help`"),
        ("audit --jsn", "No such option: --jsn (Possible options: --json); see `sendtrace audit --help`"),
        ("up --port 70000", "Invalid value for '--port': Input should be less than or equal to 65535; see"),
        ("incidents ack", "Missing argument 'ID'; see `sendtrace incidents ack --help`"),
        ("incidents --json list", "Invalid value: write the options behind the command: incidents list …; see"),
        ("incidents list --state opn", "Invalid value for --state: opn is none; did you mean open?; see"),
        ("incidents list --severity eror", "Invalid value for --severity: eror is none; did you mean error?; see"),
        ("incidents silence", "Missing argument 'ID|LABEL=VALUE'; see `sendtrace incidents silence --help`"),
        ("incidents silence source=x", "Missing option '--for'; see `sendtrace incidents silence --help`"),
        ("sandbox", "Invalid value: give --url-braze, --url-nrs or both; `sendtrace init` prints such URLs"),
        ("sandbox --url-nrs ftp://x", "Invalid value: the URL for nrs360 cannot be used: expected http://"),
        ("up", "sendtrace.toml: no such file; run `sendtrace init` to make one"),
        ("up --config no.toml", "no.toml: no such file"),
        ("erase a@b.example", "Invalid value: give --yes to erase without being asked, or --dry-run to see what there"),
        ("report --since tuesday", "Invalid value for '--since': 'tuesday' says no time, expected a length such as"),
        ("report --since 2999-01-01", "Invalid value for '--since': '2999-01-01' is not in the past, expected a"),
        ("report --json --html x", "Invalid value: --html and --json say two things; give one of them"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(shell: Shell, command: str, told: str) -> None:
    ran = shell(command)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"sendtrace: {told}")


@pytest.mark.parametrize("command", ["show d1", "audit", "report", "dead list", "tail"])
def test_tables_that_are_no_tables_are_one_line_and_exit_code_1(shell: Shell, command: str) -> None:
    Path("tables.db").write_bytes(b"this is no database" * 100)
    ran = shell(f"{command} --data .")

    assert (ran.code, ran.err) == (1, "sendtrace: tables: file is not a database\n")


def test_a_directory_that_cannot_be_written_is_one_line(shell: Shell) -> None:
    Path("file").touch()
    ran = shell("schemas export file/below")

    assert (ran.code, ran.err) == (1, "sendtrace: file/below: Not a directory\n")


def test_data_is_found_by_the_settings_beside_it(shell: Shell, tmp_path: Path) -> None:
    shell("init")
    with Plant(tmp_path / "sendtrace-data") as plant:
        plant.paths.directory.mkdir()
        plant.fold(braze("d1", "sent"))

    assert shell("show d1").lines[0] == "d1  sent (pending)"


def test_data_in_the_usual_place_is_found_without_settings(shell: Shell, tmp_path: Path) -> None:
    with Plant(tmp_path / "sendtrace-data") as plant:
        plant.paths.directory.mkdir()
        plant.fold(braze("d1", "sent"))

    assert shell("audit").lines[-1].startswith("balanced: 1 accepted")


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_no_brackets_that_would_be_taken_for_markup(words: str) -> None:
    command = COMMANDS[words]
    told = [command.help, *(getattr(param, "help", None) for param in command.params)]

    assert [text for text in told if text and re.search(r"\[[a-z/]", text)] == []
