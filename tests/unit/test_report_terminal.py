"""What a report looks like in a terminal, and in a pipe."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from sendtrace.report import terminal
from sendtrace.report.terminal import show, spark
from tests.unit.report_examples import HOSTILE, NOTHING, ROWS, example, hostile


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, markup=False, highlight=False, emoji=False)
    monkeypatch.setattr(terminal, "is_fancy", lambda: True)
    monkeypatch.setattr(terminal, "console", lambda: console)
    return console


def plain(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.file.getvalue())


def test_plain_lines_say_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    show(example())
    out = capsys.readouterr().out

    assert out.startswith("2020-08-31 10:30 to 2020-09-01 10:30 UTC, beside the 24 hours before\n")
    for told in (
        *("213", "87.7 %", "9.85 %", "unknown_user", "Stop mailing the address.", "550 5.1.1 <…> unknown", "spring"),
        *("15 min", "Authentication refused (acknowledged)", "26 of 100", "invalid_json", "balanced: 10 accepted"),
    ):
        assert told in out
    assert "\x1b" not in out


def test_every_line_fits_into_80_columns(screen: Console) -> None:
    show(example())
    lines = plain(screen).splitlines()

    assert max(map(len, lines)) <= 80
    assert any(re.search(r"spring +shop +200 +20 +10\.5 % ▲ 5\.5 pp", line) for line in lines)


def test_figures_and_changes_stand_below_each_other(screen: Console) -> None:
    show(example(ROWS._replace(volumes=[*ROWS.volumes, *(one._replace(source="another") for one in ROWS.volumes[:2])])))
    rows = [line for line in plain(screen).splitlines() if re.match(r"(shop|another) +(email|–)", line)]

    assert len(rows) == 3
    assert len({re.match(r"\S+ +\S+ +[\d,]+", row).end() for row in rows}) == 1  # type: ignore[union-attr]  # they match


def test_a_text_from_outside_moves_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(hostile())
    out = capsys.readouterr().out

    assert HOSTILE not in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[31m" in out


def test_an_empty_period_is_one_sentence_and_what_is_true_of_all_times(capsys: pytest.CaptureFixture[str]) -> None:
    show(example(NOTHING))
    lines = capsys.readouterr().out.splitlines()

    assert "nothing was heard of between" in "\n".join(lines)
    assert "Messages" not in lines
    assert lines[-1] == "balanced: 10 accepted = 10 applied"


def test_without_a_period_before_nothing_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    show(example(ROWS._replace(volumes=[one for one in ROWS.volumes if one.is_now])))
    out = capsys.readouterr().out

    assert "with nothing to compare with in the 24 hours before" in out
    assert "▲" not in out
    assert "new\n" not in out


def test_a_spark_shows_the_least_and_leaves_nothing_blank() -> None:
    assert spark([0, 1, 50, 100]) == " ▁▅█"
    assert spark([]) == ""
