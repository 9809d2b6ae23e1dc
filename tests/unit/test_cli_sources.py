"""`sendtrace init` and `sendtrace token`: what a person copies into a provider's dashboard."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sendtrace.settings import load
from sendtrace.tokens import digest_of
from tests.unit.cli_rig import Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    return Shell(tmp_path, capsys)


def valid(source: str = "braze") -> tuple[str, ...]:
    return load().sources[source].token_sha256


def token_of(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def test_init_prints_a_line_for_each_source_with_its_whole_url(shell: Shell) -> None:
    ran = shell("init")
    braze, nrs360 = (line.split() for line in ran.lines[:2])

    assert (ran.code, braze[0], nrs360[0]) == (0, "braze", "nrs360")
    assert valid("braze") == (digest_of(token_of(braze[1])),)
    assert valid("nrs360") == (digest_of(token_of(nrs360[1])),)
    assert braze[1].startswith("http://127.0.0.1:8080/in/braze/")


def test_init_does_not_overwrite(shell: Shell) -> None:
    shell("init")
    before = valid()
    ran = shell("init")

    assert (ran.code, ran.out, valid()) == (2, "", before)
    assert ran.err.count("\n") == 1


def test_init_writes_where_it_is_told(shell: Shell) -> None:
    shell("init --config other.toml")

    assert set(load(Path("other.toml")).sources) == {"braze", "nrs360"}


@pytest.mark.parametrize("command", ["token new braze", "token rotate braze"])
def test_another_token_is_valid_beside_the_first_and_its_url_is_one_line(shell: Shell, command: str) -> None:
    shell("init")
    first = valid()
    ran = shell(command)

    assert len(ran.lines) == 1
    assert valid() == (*first, digest_of(token_of(ran.out.strip())))


def test_the_url_has_the_port_of_the_settings(shell: Shell) -> None:
    shell("init")
    path = Path("sendtrace.toml")
    path.write_text(path.read_text().replace("port = 8080", "port = 9999"))

    assert urlsplit(shell("token new braze").out.strip()).port == 9999


def test_a_new_token_is_shown_although_other_settings_are_wrong(shell: Shell) -> None:
    shell("init")
    path = Path("sendtrace.toml")
    path.write_text(path.read_text().replace("port = 8080", 'port = "many"'))

    assert urlsplit(shell("token new braze").out.strip()).port == 8080


def test_retiring_ends_the_oldest(shell: Shell) -> None:
    shell("init")
    new = token_of(shell("token rotate braze").out.strip())

    assert shell("token retire braze").code == 0
    assert valid() == (digest_of(new),)


@pytest.mark.parametrize("command", ["token retire braze", "token new braez", "token new braze --config no.toml"])
def test_what_cannot_be_done_is_one_line_and_exit_code_2(shell: Shell, command: str) -> None:
    shell("init")
    ran = shell(command)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("sendtrace: ")
