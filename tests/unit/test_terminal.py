"""What reaches the terminal: nothing that it would obey, and no colour where none is wanted."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtrace import terminal
from sendtrace.terminal import Cell, Grid, drawn, is_fancy, safe

GRID = Grid(
    ("name", "count", "why"), [(Cell("a", "red"), Cell("5"), Cell("x\x1b")), (Cell("日本"), Cell("1,000"), Cell(""))]
)


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@given(st.text(st.characters(codec=None)))
def test_a_safe_text_holds_nothing_a_terminal_obeys(text: str) -> None:
    assert safe(text).isprintable()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb", r"a\nb"),
        ("\x9b", r"\x9b"),
        ("\u202egpj", r"\u202egpj"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_written_out(text: str, written: str) -> None:
    assert safe(text) == written


def test_a_table_without_a_terminal_is_aligned_plain_text() -> None:
    assert GRID._replace(right=frozenset({"count"})).lines() == [
        "name  count  why",
        "a         5  x\\x1b",
        "日本  1,000",
    ]


def test_a_drawn_table_is_safe_too() -> None:
    console = terminal.console()
    with console.capture() as taken:
        console.print(drawn(GRID))

    assert "\x1b" not in taken.get().replace("\x1b[", "")
    assert "x\\x1b" in taken.get()


def test_markup_in_a_text_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_grid(Grid(("why",), [(Cell("[red]stop[/red] :boom:"),)]))

    assert "[red]stop[/red] :boom:" in capsys.readouterr().out


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_can_be_told_to_stay_plain(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_fancy(Terminal())

    monkeypatch.setenv(variable, value)

    assert not is_fancy(Terminal())


def test_a_pipe_gets_no_colour() -> None:
    assert not is_fancy(io.StringIO())


def test_a_line_is_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "40")
    url = "http://127.0.0.1:8080/in/braze/" + "x" * 43

    terminal.say(url, "bold")

    assert url in screen.getvalue()
