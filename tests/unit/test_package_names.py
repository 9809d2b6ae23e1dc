"""Our top-level names are plain words, so nobody else may own them here; and what is imported is declared."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TypedDict, cast

import pytest

from tests.unit.project_tree import PACKAGES, ROOT, imported_packages, python_files

#: Declared dependencies that are used without an import of ours: why.
USED_BY_NAME = {
    "flask": "moto's server",
    "flask-cors": "the same",
    "hatchling": "the build backend",
    "moto": "an S3 of its own process",
    "pytest-asyncio": "a plugin pytest loads",
    "pytest-timeout": "a plugin pytest loads",
    "pytest-xdist": "a plugin pytest loads",
    "ruff": "a command of the Makefile",
    "uv": "a command of the Makefile",
}
#: What a benchmark compares with is installed when it is asked for, beside and not into `.venv`.
OF_AN_ENVIRONMENT_OF_ITS_OWN = {"quixstreams"}


_Project = TypedDict(
    "_Project", {"dependencies": list[str], "name": str, "optional-dependencies": dict[str, list[str]]}
)


@cache
def _pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _runtime() -> list[str]:
    """With the extras, which the lock has all."""
    project = cast(_Project, _pyproject()["project"])
    return [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]


def _development() -> list[str]:
    return cast("dict[str, list[str]]", _pyproject()["dependency-groups"])["dev"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names(requirements: Iterable[str]) -> set[str]:
    return {_normal(re.split(r"\[|==", requirement)[0]) for requirement in requirements}


def _third_party(*folders: str) -> dict[str, set[str]]:
    """Top-level module → distributions that provide it, for what these folders import and is not ours."""
    modules = {module for path in python_files(*folders) for module in imported_packages(path)}
    owners = packages_distributions()
    return {
        module: {_normal(owner) for owner in owners.get(module, [])}
        for module in modules - set(sys.stdlib_module_names) - set(PACKAGES) - {"tests"}
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_our_name(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"sendtrace"}


@pytest.mark.parametrize("package", PACKAGES)
def test_our_name_is_imported_from_here(package: str) -> None:
    module = __import__(package)

    assert Path(module.__file__ or "").parent == ROOT / package


def test_nothing_of_ours_shadows_the_standard_library_or_a_dependency() -> None:
    top_level = {path.stem if len(path.parts) == 1 else path.parts[0] for path in python_files(*PACKAGES)}
    taken = set(sys.stdlib_module_names) | {
        name for name, owners in packages_distributions().items() if set(owners) != {"sendtrace"}
    }

    assert top_level & taken == set()


def test_what_the_packages_import_is_a_declared_dependency() -> None:
    undeclared = {
        module: owners for module, owners in _third_party(*PACKAGES).items() if not owners & _names(_runtime())
    }

    assert undeclared == {}


def test_what_the_tests_import_is_declared_too() -> None:
    declared = _names(_runtime()) | _names(_development())
    undeclared = {module for module, owners in _third_party("tests").items() if not owners & declared}

    assert undeclared == OF_AN_ENVIRONMENT_OF_ITS_OWN


def test_every_runtime_dependency_is_imported() -> None:
    used = set().union(*_third_party(*PACKAGES).values())

    assert _names(_runtime()) - used == set()


def test_every_development_dependency_is_used() -> None:
    used = set().union(*_third_party("tests").values())

    assert _names(_development()) - used == set(USED_BY_NAME)


@pytest.mark.parametrize("requirement", [*_runtime(), *_development()])
def test_a_pin_is_exact_locked_and_installed(requirement: str) -> None:
    asked, _, pinned = requirement.partition("==")
    name = asked.partition("[")[0]  # the lock has an extra's packages instead of its name
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert re.search(rf"^{re.escape(f'{name}=={pinned}')}( ;.*)? \\$", lock, re.MULTILINE), "run `make lock`"
    assert version(name) == pinned


def test_every_locked_package_has_a_hash() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", lock)

    assert len(entries) > len(_runtime())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_an_upload_would_be_refused() -> None:
    project = cast("dict[str, list[str]]", _pyproject()["project"])

    assert "Private :: Do Not Upload" in project["classifiers"]
