"""Documents drift. Every path, make target and command of ours that one names has to exist.

The changelog is left out: history may name what is gone.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import pytest
import typer
from typer.main import get_command

from tests.unit.project_tree import PACKAGES, ROOT, project_files

FOLDERS = (*PACKAGES, "deploy", "tests", "docs", r"\.ci")
#: Made when the program or the setup runs, at a place the user chooses.
MADE_AT_RUN_TIME = {"sendtrace.toml"}

_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
_PATH = re.compile(rf"(?<![\w./:*-])(?:\./)?((?:{'|'.join(FOLDERS)})/[\w./*-]*)")
_TOP_FILE = re.compile(r"(?<![\w./*-])(Makefile|LICENSE|requirements\.lock|[A-Za-z][\w-]*\.(?:toml|md))(?![\w/])")
_MAKE = re.compile(r"^(?:\$ )?make ([a-z][a-z-]*)")
_COMMAND = re.compile(r"^(?:\$ )?(?:uv run |uvx |\.venv/bin/)?sendtrace +([a-z].*)")


class _Parameter(Protocol):
    opts: list[str]
    secondary_opts: list[str]


class _Command(Protocol):
    params: list[_Parameter]
    commands: dict[str, _Command]  # groups only


def _documents() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]


@cache
def _text(document: Path) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _code_lines(document: Path) -> list[str]:
    """The lines of code blocks and, one each, the spans of code in sentences."""
    text = _text(document)
    blocks = [line.strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
    return blocks + _SPAN.findall(_BLOCK.sub("", text))


def _exists(named: str, document: Path) -> bool:
    """From the root or from the document's folder. Capitals and `*` stand for any name, `:12` for a line."""
    path = re.sub(r"\b[A-Z]{4,}\b(?!\.md)|NAME", "*", re.sub(r":\d+$", "", named).rstrip("./"))
    return any(any(base.glob(path)) for base in (ROOT, ROOT / document.parent))


def missing_paths(document: Path) -> list[str]:
    """What a document names and nobody finds."""
    code = "\n".join(_code_lines(document))
    named = {*_PATH.findall(_text(document)), *_TOP_FILE.findall(code), *_LINK.findall(_text(document))}
    return sorted(path for path in named - MADE_AT_RUN_TIME if not _exists(path, document))


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def _program() -> _Command:
    found = [value for value in vars(import_module("sendtrace.cli")).values() if isinstance(value, typer.Typer)]
    return cast(_Command, get_command(found[0]))


def unknown_commands(line: str) -> list[str]:
    """What `sendtrace …` of a document says that the program would not take: commands and options."""
    command = _program()
    words = line.split("#", maxsplit=1)[0].replace("…", " ").split()
    while words and hasattr(command, "commands"):
        names = words.pop(0).split("|")
        unknown = [name for name in names if name not in command.commands]
        if unknown:
            return unknown
        command = command.commands[names[-1]]
    options = {"--help", *(option for each in command.params for option in (*each.opts, *each.secondary_opts))}
    return [word for word in re.findall(r"(?<!\S)\[?(--[a-z][a-z-]*)", " ".join(words)) if word not in options]


@pytest.mark.parametrize("document", _documents(), ids=str)
def test_the_paths_of_a_document_exist(document: Path) -> None:
    assert missing_paths(document) == []


@pytest.mark.parametrize("document", _documents(), ids=str)
def test_the_make_targets_of_a_document_exist(document: Path) -> None:
    named = {match[1] for line in _code_lines(document) if (match := _MAKE.match(line))}

    assert named - _targets() == set()


@pytest.mark.parametrize("document", _documents(), ids=str)
def test_the_commands_of_a_document_exist(document: Path) -> None:
    lines = [match[1] for line in _code_lines(document) if (match := _COMMAND.match(line))]

    assert {line: unknown for line in lines if (unknown := unknown_commands(line))} == {}


def test_the_commands_that_our_own_words_advise_exist() -> None:
    """Errors and example settings say `sendtrace …` too."""
    speaking = [path for path in project_files() if path.parts[0] in {*PACKAGES, "deploy"} and path.suffix != ".jsonl"]
    lines = {match[1] for path in speaking for span in _SPAN.findall(_text(path)) if (match := _COMMAND.match(span))}

    assert {line: unknown for line in lines if (unknown := unknown_commands(line))} == {}


def test_every_decision_is_listed() -> None:
    pages = [path.name for path in project_files() if path.match("docs/decisions/[0-9]*.md")]

    assert sorted(_LINK.findall(_text(Path("docs/decisions/README.md")))) == pages


def test_the_readme_is_there_and_shows_the_two_commands() -> None:
    assert {"make demo", "make test"} <= {line.split("  ")[0] for line in _code_lines(Path("README.md"))}


@pytest.mark.parametrize("gone", ["nosuch", "show ID --jsn", "dead lst", "dead list|shw"])
def test_a_command_that_is_gone_is_noticed(gone: str) -> None:
    assert unknown_commands(gone)


@pytest.mark.parametrize("gone", ["see schemas/nosuch.py", "`nosuch.toml`", "[x](docs/nosuch.md)", "`tests/nosuch/`"])
def test_a_path_that_is_gone_is_noticed(gone: str, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(gone)

    assert len(missing_paths(document)) == 1
