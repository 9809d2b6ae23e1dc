"""The habits of the code, kept by counting: sizes, loose ends, and names that must not be written down."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.project_tree import PACKAGES, ROOT, parse, project_files, python_files

MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60

#: Longer than allowed, and by how much. May only shrink: an entry that is no longer needed fails.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}

#: Put together here, because this file is searched too.
LOOSE_ENDS = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
PACKAGE_HOSTS = re.compile(
    "|".join(
        re.escape(first + second)
        for first, second in (
            ("py", "pi."),
            ("python", "hosted.org"),
            ("npm", "js."),
            ("crates", ".io"),
            ("proxy.go", "lang"),
            ("repo1.ma", "ven"),
            ("deb.de", "bian"),
        )
    ),
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(?:work|root|Users|home/[a-z]+|tmp/tmp)/")

NOT_TEXT = {".png", ".ico", ".gz", ".woff2"}


def _text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _text_files() -> list[Path]:
    return [path for path in project_files() if path.suffix not in NOT_TEXT]


def _found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def _functions(path: Path) -> dict[str, int]:
    return {
        f"{path}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _ratchet(sizes: dict[str, int], most: int, known: dict[str, int]) -> None:
    too_long = {name: size for name, size in sizes.items() if size > known.get(name, most)}
    outgrown = {name: sizes.get(name, 0) for name, size in known.items() if sizes.get(name, 0) < size}

    assert too_long == {}, f"more than {most} lines: split it"
    assert outgrown == {}, "shorter by now: lower or remove its entry"


def test_no_file_is_long() -> None:
    sizes = {str(path): len(_text(path).splitlines()) for path in python_files(*PACKAGES, "tests")}

    _ratchet(sizes, MOST_FILE_LINES, LONG_FILES)


def test_no_function_is_long() -> None:
    sizes: dict[str, int] = {}
    for path in python_files(*PACKAGES, "tests"):
        sizes |= _functions(path)

    _ratchet(sizes, MOST_FUNCTION_LINES, LONG_FUNCTIONS)


def test_readme_is_short() -> None:
    assert len(_text(Path("README.md")).splitlines()) <= 200


def test_every_module_says_what_it_does() -> None:
    silent = [path for path in python_files(*PACKAGES, "tests") if not ast.get_docstring(parse(path))]

    assert silent == []


def test_nothing_is_left_for_later() -> None:
    assert _found(LOOSE_ENDS, _text_files()) == []


def test_no_package_host_is_named() -> None:
    assert _found(PACKAGE_HOSTS, _text_files()) == []


def test_no_path_of_a_machine_is_named() -> None:
    assert _found(MACHINE_PATHS, _text_files()) == []


def test_an_ignore_names_its_rule_and_its_reason() -> None:
    ignores = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma)")
    reasoned = re.compile(r"# (?:noqa: [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)*|type: ignore\[[a-z, -]+\])\s+\S.{3,}")
    lines = [line for line in _found(ignores, python_files(*PACKAGES, "tests")) if not reasoned.search(line)]

    assert [line for line in lines if not line.startswith("tests/unit/test_tidy.py")] == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in python_files("tests")]

    assert sorted(name for name in set(names) - {"conftest.py"} if names.count(name) > 1) == []
    assert "__init__.py" not in names


@pytest.mark.parametrize("line", ["see /ro" + "ot/x", 'open("/wo' + 'rk/main")', "`/ho" + "me/me/.venv`"])
def test_machine_paths_are_recognized(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["POST /v1/work/x", "./root/x", "https://example.org/home/me/", "~/work/x"])
def test_other_paths_are_not_machine_paths(line: str) -> None:
    assert not MACHINE_PATHS.search(line)
