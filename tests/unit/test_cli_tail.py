"""`sendtrace tail`: every transition once, in order, from where it was asked to begin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.records import Transition
from sendtrace.commands.tail import follow, line_of
from tests.integration.read_rig import Plant, braze
from tests.unit.cli_rig import Shell


class Enough(Exception):  # noqa: N818  not an error: how a test ends what has no end
    """Nothing new came."""


def stop(_: float) -> None:
    raise Enough


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as plant:
        yield plant


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell whose tail ends where it would wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sendtrace.commands.tail.wait", stop)
    return Shell(tmp_path, capsys)


def followed(shell: Shell, capsys: pytest.CaptureFixture[str], options: str) -> list[str]:
    with pytest.raises(Enough):
        shell(f"tail --data . {options}")
    return capsys.readouterr().out.splitlines()


def test_it_begins_with_what_comes_next(plant: Plant, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    plant.fold(braze("d1", "sent"))

    assert followed(shell, capsys, "") == []


def test_it_can_begin_with_the_oldest(plant: Plant, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "bounced", reason="550 5.1.1 No\x1b"))
    first, second = followed(shell, capsys, "--from-start")

    assert first.split() == ["2020-09-01", "00:00:00.001", "braze", "d1", "new", "→", "sent"]
    assert second.split("  ")[-1].strip() == "550 5.1.1 No\\x1b (unknown_recipient)"


def test_it_can_be_narrowed(plant: Plant, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "bounced"), braze("d2", "sent"))

    assert len(followed(shell, capsys, "--from-start --status bounced")) == 1
    assert followed(shell, capsys, "--from-start --source nrs360") == []


def test_json_is_a_record_a_line(plant: Plant, shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    plant.fold(braze("d1", "sent"), braze("d2", "sent"))
    lines = followed(shell, capsys, "--from-start --json")

    assert [decode(Transition, line.encode())["dispatch_id"] for line in lines] == ["d1", "d2"]


def test_what_comes_while_it_waits_is_shown_once(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))
    coming = iter(["d2", "d3"])

    def wait(_: float) -> None:
        plant.fold(braze(next(coming), "sent"))

    told = follow(plant.reader, 0, status=None, source=None, pause=wait)

    assert [transition["dispatch_id"] for transition in islice(told, 3)] == ["d1", "d2", "d3"]


def test_a_fact_that_moves_nothing_names_itself(plant: Plant) -> None:
    plant.fold(braze("d1", "delivered"), braze("d1", "sent"))
    late = plant.reader.transitions_after(1).transitions[0]

    assert "  delivered (sent)  " in line_of(late).plain


def test_a_contradiction_is_named(plant: Plant) -> None:
    plant.fold(braze("d1", "delivered"), braze("d1", "bounced"))
    late = plant.reader.transitions_after(1).transitions[0]

    assert line_of(late).plain.endswith("contradicts what was known")


def test_a_status_that_is_none_is_refused_with_the_nearest(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"))
    ran = shell("tail --status bounce --data .")

    assert ran.code == 2
    assert "did you mean bounced?" in ran.err
