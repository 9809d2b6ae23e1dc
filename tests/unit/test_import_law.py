"""Who may import whom (design §4), who may read a clock, and what the deciding modules stay free of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.project_tree import PACKAGES, imported_modules, imported_packages, parse, python_files

MAY_IMPORT = {
    "schemas": {"schemas"},
    "ingest": {"ingest", "schemas"},
    "processors": {"processors", "schemas"},
    "sinks": {"sinks", "schemas"},
    "sendtrace": set(PACKAGES),
}

CLOCK = Path("sendtrace/clock.py")
#: Calls that read the wall clock, by the last two parts of their name.
CLOCK_READS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "gmtime"),
    ("time", "localtime"),
    ("time", "ctime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}

#: The modules that decide: what they say follows from their arguments alone.
PURE = ("normalize", "lifecycle", "partition")
IMPURE_IMPORTS = {
    *("aiohttp", "aiokafka", "asyncio", "builtins", "concurrent", "ctypes", "fcntl", "glob", "http", "importlib"),
    *("io", "logging", "mmap", "multiprocessing", "os", "pathlib", "psycopg", "queue", "random", "rocksdict"),
    *("secrets", "select", "selectors", "shelve", "shutil", "signal", "socket", "sqlite3", "ssl", "starlette"),
    *("structlog", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "uvicorn", "uvloop"),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    breaches = {
        str(path): forbidden
        for path in python_files(package)
        if (forbidden := imported_packages(path) & set(PACKAGES) - MAY_IMPORT[package])
    }

    assert breaches == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_files_to_judge(package: str) -> None:
    assert python_files(package)


def test_nothing_imports_tests() -> None:
    assert [path for path in python_files(*PACKAGES) if "tests" in imported_packages(path)] == []


def test_deploy_holds_no_python() -> None:
    assert python_files("deploy") == []


def _clock_reads(path: Path) -> Iterator[str]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in CLOCK_READS:
                yield f"{path}:{node.lineno} {owner}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            read = {alias.name for alias in node.names} & {name for owner, name in CLOCK_READS if owner == "time"}
            yield from (f"{path}:{node.lineno} from time import {name}" for name in sorted(read))


def test_only_the_clock_reads_the_time() -> None:
    assert [read for path in python_files(*PACKAGES) if path != CLOCK for read in _clock_reads(path)] == []


def test_the_clock_itself_would_be_caught() -> None:
    assert list(_clock_reads(CLOCK))


def test_the_incident_step_does_no_input_or_output() -> None:
    files = [path for path in python_files("processors") if path.parts[1] == "incidents"]

    assert files
    assert {str(path): bad for path in files if (bad := imported_packages(path) & IMPURE_IMPORTS)} == {}


@pytest.mark.parametrize("module", PURE)
def test_what_decides_does_no_input_or_output(module: str) -> None:
    path = Path(f"processors/{module}.py")

    assert imported_packages(path) & IMPURE_IMPORTS == set()
    assert "open" not in {node.id for node in ast.walk(parse(path)) if isinstance(node, ast.Name)}


def test_provider_files_do_no_input_or_output() -> None:
    providers = [path for path in python_files("processors") if path.parts[1] == "providers"]
    files = [path for path in providers if path.stem not in {"__init__", "contract"}]

    assert files
    assert {str(path): bad for path in files if (bad := imported_packages(path) & IMPURE_IMPORTS)} == {}


def test_relative_imports_are_not_used() -> None:
    relative = [
        f"{path}:{node.lineno}"
        for path in python_files(*PACKAGES, "tests")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert relative == [], "one spelling for every module: it is what the other laws and searches rely on"


def test_schemas_needs_no_shell() -> None:
    """The contract is imported by everyone, so it must cost little and reach nothing."""
    allowed = {"orjson", "pydantic", "typing_extensions"}
    third_party = {"httptools", "rich", "starlette", "structlog", "tomlkit", "typer", "uvicorn", "uvloop"}

    used = {module.split(".")[0] for path in python_files("schemas") for module in imported_modules(path)}

    assert used & third_party == set()
    assert allowed >= used & {"orjson", "pydantic", "typing_extensions"}
