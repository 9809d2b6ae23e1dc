"""What people read: plain lines for pipes and for NO_COLOR, colour and tables for a terminal.

Everything a provider said passes through `safe` first: a terminal obeys control characters, and a
reason is text that strangers write. Refuses to wrap what is meant to be copied (URLs, ids).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP: Final = "  "
#: The colour of each status word and outcome; a word without one is plain.
STYLES: Final = {
    "delivered": "green",
    "opened": "green",
    "clicked": "green",
    "deferred": "yellow",
    "unsubscribed": "yellow",
    "complained": "yellow",
    "unknown": "magenta",
    "undelivered": "red",
    "expired": "red",
    "rejected": "red",
    "aborted": "red",
    "bounced": "red",
    "failed": "red",
}


def safe(text: str) -> str:
    r"""`text` with everything a terminal might obey written out: `\x1b`, `\n`, `\u202e`.

    That is whatever is not printable: controls, invisible and direction marks, lone surrogates.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _written(c) for c in text)


def _written(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def padded(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with blanks to `width` columns of a terminal; some characters take two."""
    blanks = " " * max(0, width - cell_len(text))
    return blanks + text if right else text + blanks


class Cell(NamedTuple):
    """One text of a table, made safe where it is shown."""

    text: str
    style: str = ""


class Grid(NamedTuple):
    """A table before it is drawn. `right` names the columns of numbers."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    right: frozenset[str] = frozenset()

    def lines(self) -> list[str]:
        """Aligned text without colour or frame, a line a row, for pipes."""
        table = [self.headings, *([safe(cell.text) for cell in row] for row in self.rows)]
        widths = [max(cell_len(row[column]) for row in table) for column in range(len(self.headings))]
        return [self._line(row, widths) for row in table]

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = zip(self.headings, row, widths, strict=True)
        return _GAP.join(padded(text, width, right=name in self.right) for name, text, width in cells).rstrip()


def is_fancy(stream: TextIO | None = None) -> bool:
    """Whether colour and moving tables are wanted: a terminal, and nobody said NO_COLOR."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console() -> Console:
    """Standard output for rich: no markup, no guessing of colours in what providers wrote."""
    return Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


def say(line: str = "", style: str = "") -> None:
    """One line on standard output, never wrapped, at once. `line` is ours; use `safe` for others' texts."""
    if style and is_fancy():
        console().print(Text(line, style=style), soft_wrap=True)
    else:
        print(line, flush=True)  # noqa: T201  printing is what this module is for


def complain(line: str) -> None:
    """One line on standard error."""
    print(f"sendtrace: {line}", file=sys.stderr, flush=True)  # noqa: T201  the one place for errors


def program() -> str:
    """What to type for this program: `sendtrace`, or its path when the shell would not find it."""
    started = Path(sys.argv[0])
    if started.name != "sendtrace" or shutil.which("sendtrace"):
        return "sendtrace"
    return os.path.relpath(started)


def ready_line(gateway_url: str, admin_url: str, *, admin_is: str = "page and API") -> str:
    """Both addresses on one line, as `up` and `demo` print it and programs wait for it."""
    return f"ready  {gateway_url} (postbacks)  {admin_url} ({admin_is})"


def say_text(text: Text) -> None:
    """One line with styles on standard output; a terminal may wrap it at words."""
    if is_fancy():
        console().print(text)
    else:
        print(text.plain, flush=True)  # noqa: T201  printing is what this module is for


def show_grid(grid: Grid) -> None:
    """A table on standard output."""
    if is_fancy():
        console().print(drawn(grid))
    else:
        for line in grid.lines():
            say(line)


def drawn(grid: Grid, *, one_line_rows: bool = False) -> Table:
    """A table for a terminal. The last column takes what is left: wrapped, or cut so that the height stays."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", expand=one_line_rows)
    *first, last = grid.headings
    for column, heading in enumerate(first):
        width = max(cell_len(heading), *(cell_len(safe(row[column].text)) for row in grid.rows), 0)
        table.add_column(heading, justify="right" if heading in grid.right else "left", width=width, no_wrap=True)
    if one_line_rows:
        table.add_column(last, no_wrap=True, overflow="ellipsis", ratio=1)
    else:
        table.add_column(last, overflow="fold", justify="right" if last in grid.right else "left")
    for row in grid.rows:
        table.add_row(*(Text(safe(cell.text), style=cell.style) for cell in row))
    return table
