"""Providers are found by looking, and a broken provider file stops the start with its name."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import processors.providers as found_here
from processors.bodies import NumberText
from processors.providers import discover
from processors.providers.contract import (
    ClockRule,
    NumberFoundError,
    RefusedError,
    bounded,
    section,
    text,
    whole,
)

FOLDER: Final = Path(found_here.__file__).parent


def test_every_file_beside_the_contract_is_a_provider_and_has_its_samples() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "contract"}

    assert set(discover()) == modules == {path.stem for path in FOLDER.glob("*.jsonl")}
    assert modules >= {"braze", "nrs360"}


@pytest.mark.parametrize("name", discover())
def test_a_provider_says_all_that_documents_and_settings_need(name: str) -> None:
    provider = discover()[name]

    assert provider.reply_code == 200
    assert all((provider.title, provider.channels, provider.formats, provider.identity, provider.auth))
    assert all((provider.documents, provider.notes))
    assert (provider.retry_horizon_ms > 0) == (provider.clock is ClockRule.RECEIPT)


def test_the_retry_horizon_of_360nrs_covers_its_five_documented_retries() -> None:
    last_retry_ms = sum((1, 2, 3, 4, 5)) * 60_000

    assert discover()["nrs360"].retry_horizon_ms > last_retry_ms


def test_the_providers_cannot_be_changed_by_who_asks_for_them() -> None:
    with pytest.raises(TypeError):
        discover()["other"] = discover()["braze"]  # type: ignore[index] # that it cannot be done is the point


@pytest.mark.parametrize(
    ("statuses", "words"), [({"sent": "snet"}, "'snet', which is no status word"), ({"Sent": "sent"}, "lower case")]
)
def test_a_wrong_word_in_a_table_is_told_at_import(statuses: dict[str, str], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        replace(discover()["braze"], statuses=statuses)


@pytest.mark.parametrize(
    ("declared", "words"), [(None, "PROVIDER is missing"), (discover()["braze"], "must be 'odd', it is 'braze'")]
)
def test_a_file_that_breaks_the_contract_is_named(
    monkeypatch: pytest.MonkeyPatch, declared: object, words: str
) -> None:
    module = ModuleType("processors.providers.odd")
    module.__dict__["PROVIDER"] = declared
    monkeypatch.setitem(sys.modules, "processors.providers.odd", module)

    with pytest.raises(TypeError, match=rf"processors/providers/odd\.py: .*{words}"):
        found_here._provider("odd")


@pytest.mark.parametrize(
    ("value", "meant"), [("a", "a"), ("", None), (None, None), ("0", "0"), (" ", " "), (NumberText("1.0"), "1.0")]
)
def test_a_text_field(value: object, meant: str | None) -> None:
    assert text(value, "f") == meant


@pytest.mark.parametrize(
    ("value", "meant"),
    [(5, "5"), (0, None), (None, None), ("", None), ("0", None), ("05", "05"), (NumberText("-0.0"), None)],
)
def test_a_whole_number_field(value: object, meant: str | None) -> None:
    assert whole(value, "f") == meant


@pytest.mark.parametrize("value", [5, 5.0])
def test_a_number_asks_to_be_read_as_written(value: object) -> None:
    with pytest.raises(NumberFoundError):
        text(value, "f")


@pytest.mark.parametrize("value", [True, [], {}])
def test_other_types_are_refused_by_name(value: object) -> None:
    with pytest.raises(RefusedError, match="The field f must be a text"):
        text(value, "f")


def test_a_section_is_an_object_or_nothing() -> None:
    assert section(None, "f") == {}
    assert section({"a": 1}, "f") == {"a": 1}
    with pytest.raises(RefusedError, match="The field f must be an object, but it is an array"):
        section([], "f")


def test_texts_within_their_limits_are_left_alone() -> None:
    assert bounded("sent", None, ("x",)) == ("sent", None, ("x",))
