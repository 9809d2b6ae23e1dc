"""`sendtrace check`, `config show`, `schemas export`: what a person learns before anything runs."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import MessageStatus
from sendtrace.data_paths import DataPaths
from sendtrace.processor_loop import processor_lock
from tests.unit.cli_rig import Ran, Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SENDTRACE_KAFKA", raising=False)  # the tests may themselves have been given a broker
    shell = Shell(tmp_path, capsys)
    shell("init")
    return shell


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def check(shell: Shell, options: str = "") -> Ran:
    return shell(f"check --port 0 --admin-port 0 {options}")


def test_settings_that_would_start_are_right(shell: Shell) -> None:
    ran = check(shell)

    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[:2] for line in ran.lines] == [
        ["ok", what] for what in ("settings", "data", "gateway", "admin", "rules", "targets", "incidents")
    ]


def test_a_port_that_is_taken_is_found(shell: Shell, taken: int) -> None:
    ran = shell(f"check --port {taken} --admin-port 0")

    assert ran.code == 2
    assert (
        f"wrong  gateway   127.0.0.1 port {taken}: address already in use; stop what uses it, or set gateway.port"
        in ran.lines
    )


def test_ports_of_a_running_sendtrace_are_its_own(shell: Shell, taken: int) -> None:
    paths = DataPaths(Path("sendtrace-data"))
    paths.directory.mkdir()
    with processor_lock(paths, wait=False):
        ran = shell(f"check --port {taken}")

    assert ran.code == 0
    assert "ok     ports     not tried: a sendtrace is running on this data directory" in ran.lines


def test_a_data_directory_that_cannot_be_one_is_found(shell: Shell) -> None:
    Path("file").touch()
    ran = check(shell, "--data file/data")

    assert ran.code == 2
    assert any(line.startswith("wrong  data      ") and "no directory" in line for line in ran.lines)


def test_a_rules_file_that_cannot_be_read_is_found(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rules.toml").write_text("[[rule]]\n")
    monkeypatch.setenv("SENDTRACE_CLASSIFIER__RULES", "rules.toml")
    ran = check(shell)

    assert ran.code == 2
    assert ran.lines[-1].startswith("wrong  rules     rules.toml: ")


def test_a_target_of_a_class_that_does_not_exist_is_found(shell: Shell) -> None:
    with Path("sendtrace.toml").open("a") as file:
        file.write(f'[notifications.targets.pager]\nkind = "pagerduty"\nrouting_key = "{"0" * 32}"\n')
        file.write('[notifications.targets.pager.when]\nclasses = ["blok_list"]\n')
    ran = check(shell)

    assert ran.code == 2
    assert (
        "wrong  targets   notifications.targets.pager.when.classes: there is no 'blok_list'; did you mean block_list?"
        in ran.lines
    )


def test_a_rule_of_incidents_of_a_class_that_does_not_exist_is_found(shell: Shell) -> None:
    with Path("sendtrace.toml").open("a") as file:
        file.write('[[incidents.rules]]\nname = "a"\nkind = "count"\nmatch = ["blok_list"]\n')
    ran = check(shell)

    assert ran.code == 2
    assert (
        "wrong  incidents incidents.rules: rule a: there is no class or status 'blok_list'; did you mean block_list?"
        in ran.lines
    )


def test_wrong_settings_are_a_line_a_fault(shell: Shell) -> None:
    path = Path("sendtrace.toml")
    path.write_text(path.read_text().replace("port = 8080", "prot = 8080").replace("port = 8081", 'port = "x"'))
    ran = shell("check")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 2
    assert "did you mean port?" in ran.err


def test_an_unknown_provider_is_wrong(shell: Shell) -> None:
    path = Path("sendtrace.toml")
    path.write_text(path.read_text().replace('"nrs360"', '"nrs36"'))

    assert "did you mean nrs360?" in shell("check").err


def test_settings_of_the_environment_alone_will_do(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sendtrace.toml").unlink()
    monkeypatch.setenv("SENDTRACE_SOURCES__MAIL__PROVIDER", "braze")
    monkeypatch.setenv("SENDTRACE_SOURCES__MAIL__TOKEN_SHA256", "0" * 64)

    assert "ok     settings  sources mail (braze)" in check(shell).lines


def test_without_any_settings_the_way_to_some_is_told(shell: Shell) -> None:
    Path("sendtrace.toml").unlink()
    ran = check(shell)

    assert (ran.code, ran.err) == (2, "sendtrace: sendtrace.toml: no such file; run `sendtrace init` to make one\n")


def test_the_settings_in_force_are_shown_as_toml_without_secrets(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_ADMIN__TOKEN", "a very secret text")
    ran = shell("config show --port 9000")
    shown = tomllib.loads(ran.out)

    assert shown["gateway"]["port"] == 9000
    assert shown["gateway"]["limits"]["body_bytes"] == 524_288
    assert shown["sources"]["braze"]["provider"] == "braze"
    assert shown["admin"]["token"] == "***"
    assert "secret text" not in ran.out
    assert "# basic_user is not set" in ran.lines


def test_tables_of_one_name_are_shown_as_such(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [{"name": "a", "kind": "count", "match": ["aborted"]}, {"name": "silence", "kind": "silence"}]
    monkeypatch.setenv("SENDTRACE_INCIDENTS__RULES", json.dumps(rules))
    shown = tomllib.loads(shell("config show").out)

    assert [rule["name"] for rule in shown["incidents"]["rules"]] == ["a", "silence"]
    assert shown["incidents"]["rules"][0]["match"] == ["aborted"]


def test_the_schemas_of_the_public_records_are_written(shell: Shell) -> None:
    ran = shell("schemas export contracts")
    schema = json.loads(Path("contracts/MessageStatus.json").read_text())

    assert sorted(ran.lines) == sorted(str(path) for path in Path("contracts").iterdir())
    assert set(schema["properties"]) == set(MessageStatus.__annotations__)
    assert schema["additionalProperties"] is False
