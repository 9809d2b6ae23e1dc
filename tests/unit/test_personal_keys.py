"""The key of personal data is made once, and nothing goes on under another than the list of erasures was made with."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from processors.personal import Mode
from schemas.personal import Digests, Value
from sendtrace.data_paths import DataPaths
from sendtrace.erasure_file import add_to_list, read_list
from sendtrace.personal_keys import CHILD_VARIABLE, child_environment, child_keys, keys_of, secret_embedded
from sendtrace.settings import load
from sinks.personal.held import ErasureKeyError

NOW = "2026-01-01T00:00:00.000Z"
ANN = Value("address", "ann@mail.example")


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataPaths:
    monkeypatch.setenv("SENDTRACE_PERSONAL__KEY", "s" * 32)
    return DataPaths(tmp_path)


def test_a_directory_makes_its_key_once_and_for_its_owner_alone(paths: DataPaths) -> None:
    assert secret_embedded(paths, None, make=False) is None
    made = secret_embedded(paths, None, make=True)

    assert made is not None
    assert len(made) >= 32
    assert secret_embedded(paths, None, make=True) == secret_embedded(paths, None, make=False) == made
    assert stat.S_IMODE(paths.personal_key.stat().st_mode) == 0o600


def test_the_settings_go_first_until_something_was_erased(paths: DataPaths) -> None:
    made = secret_embedded(paths, None, make=True)
    settings = load(None, takes_postbacks=False)
    assert secret_embedded(paths, settings, make=True) == "s" * 32

    add_to_list(paths.erasures, [Digests(made or "").erased(ANN, NOW)])

    assert secret_embedded(paths, settings, make=True) == made


def test_a_list_of_another_key_is_refused_and_no_new_key_is_made(paths: DataPaths) -> None:
    add_to_list(paths.erasures, [Digests("a" * 32).erased(ANN, NOW)])

    with pytest.raises(ErasureKeyError, match="give it the key that was in use then"):
        secret_embedded(paths, load(None, takes_postbacks=False), make=True)

    assert not paths.personal_key.exists()


def test_a_list_has_each_entry_once_in_its_order(paths: DataPaths) -> None:
    first, second = (Digests("a" * 32).erased(Value("identifier", text), NOW) for text in ("1", "2"))

    assert add_to_list(paths.erasures, [first, first]) == 1
    assert add_to_list(paths.erasures, [second, first]) == 1
    assert read_list(paths.erasures) == [first, second]
    assert [path.name for path in paths.directory.iterdir()] == ["erasures.jsonl"]


@pytest.mark.parametrize(("mode", "seals"), [("hashed", True), ("encrypted", True), ("off", False)])
def test_a_child_has_its_parents_key(mode: Mode, seals: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001  a table's column
    for name, value in child_environment("k" * 32).items():
        monkeypatch.setenv(name, value)
    keys = child_keys(mode)

    assert keys.digests is not None
    assert keys.digests.key_id == Digests("k" * 32).key_id
    assert (keys.seal is not None) is seals
    assert CHILD_VARIABLE not in child_environment(None)


def test_without_a_key_nothing_is_sealed() -> None:
    assert os.environ.get(CHILD_VARIABLE) is None
    assert keys_of("hashed", None) == child_keys("hashed")
    assert keys_of("hashed", None).seal is None
