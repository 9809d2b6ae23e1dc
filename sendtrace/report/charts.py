"""Charts of a report as inline SVG: no script, colours by class from the page's style sheet. Pure.

Every mark says its figures in a `<title>`, which browsers show on hovering and read aloud. Texts from outside
are escaped by whoever passes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log10
from typing import Final, NamedTuple

WIDTH: Final = 920
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 30
_PLOT: Final = WIDTH - _LEFT - _RIGHT
_GAP: Final = 2
_MOST_LABELS: Final = 12
_GRID_LINES: Final = 4
_WIDEST_BAR: Final = 48
#: Marks of a scale of seconds.
_TIMES: Final[tuple[tuple[float, str], ...]] = (
    *((0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3_600, "1 h"), (36_000, "10 h")),
    *((86_400, "1 d"), (864_000, "10 d"), (8_640_000, "100 d")),
)


class Stack(NamedTuple):
    """One bar: parts of it from the bottom, each with the class of its colour."""

    label: str
    title: str
    parts: Sequence[tuple[str, float]]


class Line(NamedTuple):
    """One line over the steps; `None` breaks it."""

    css: str
    values: Sequence[float | None]


class Span(NamedTuple):
    """One row of a chart of ranges: a point, and how far it goes on."""

    label: str
    title: str
    low: float
    middle: float
    high: float


def stacked(bars: Sequence[Stack], *, name: str, height: int = 220) -> str:
    """Bars from a common base line, with a scale of counts."""
    top = max(_GRID_LINES, _nice(max((sum(value for _, value in bar.parts) for bar in bars), default=0)))
    plot = height - _TOP - _BOTTOM
    width = _PLOT / max(1, len(bars))
    drawn = []
    for number, bar in enumerate(bars):
        wide = min(width - _GAP, _WIDEST_BAR)
        x, y = _LEFT + number * width + (width - wide) / 2, float(height - _BOTTOM)
        rects = []
        for css, value in bar.parts:
            tall = plot * value / top
            y -= tall
            if value:
                rects.append(f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>')
        # A column of the whole height, so that a low bar can be hovered too.
        hover = f'<rect class="hover" x="{_LEFT + number * width:.1f}" y="{_TOP}" width="{width:.1f}" height="{plot}"/>'
        drawn.append(f"<g><title>{bar.title}</title>{hover}{''.join(rects)}</g>")
    axis = _grid(top, height, lambda value: f"{value:,.0f}") + _labels([bar.label for bar in bars], height)
    return _svg(name, height, axis + "".join(drawn))


def lines(labels: Sequence[str], drawn: Sequence[Line], *, name: str, titles: Sequence[str], height: int = 180) -> str:
    """Lines over the same steps, with a scale of per cent; values are fractions."""
    values = [value for line in drawn for value in line.values if value is not None]
    top = _nice(100 * max(values, default=0)) / 100
    plot, width = height - _TOP - _BOTTOM, _PLOT / max(1, len(labels))

    def at(number: int, value: float) -> tuple[float, float]:
        return _LEFT + (number + 0.5) * width, height - _BOTTOM - plot * value / top

    marks = []
    for line in drawn:
        for run in _runs(line.values):
            points = " ".join("{:.1f},{:.1f}".format(*at(number, value)) for number, value in run)
            if len(run) == 1:
                x, y = at(*run[0])
                marks.append(f'<circle class="{line.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
            else:
                marks.append(f'<polyline class="{line.css}" points="{points}"/>')
    hovers = [
        f'<g><title>{title}</title><rect class="hover" x="{_LEFT + number * width:.1f}" y="{_TOP}" '
        f'width="{width:.1f}" height="{plot}"/></g>'
        for number, title in enumerate(titles)
    ]
    axis = _grid(top, height, lambda value: f"{100 * value:.3g} %") + _labels(labels, height)
    return _svg(name, height, axis + "".join(marks) + "".join(hovers))


def ranges(rows: Sequence[Span], ticks: Sequence[tuple[float, str]], *, name: str) -> str:
    """A row each on a logarithmic scale: a bar from `low` to `middle`, thinner to `high`."""
    left, row_height = 290, 26
    height = _TOP + len(rows) * row_height + _BOTTOM
    least = min((value for value, _ in ticks), default=1)
    most = max((value for value, _ in ticks), default=10)
    plot = WIDTH - left - _RIGHT

    def x_of(value: float) -> float:
        share = (log10(max(value, least)) - log10(least)) / (log10(most) - log10(least))
        return left + plot * min(1.0, share)

    marks = [
        f'<line class="grid" x1="{x_of(value):.1f}" x2="{x_of(value):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        f'<text class="tick" x="{x_of(value):.1f}" y="{height - 10}" text-anchor="middle">{label}</text>'
        for value, label in ticks
    ]
    for number, row in enumerate(rows):
        y = _TOP + number * row_height + row_height / 2
        low, middle, high = x_of(row.low), x_of(row.middle), x_of(row.high)
        marks.append(
            f'<g><title>{row.title}</title><rect class="hover" x="0" y="{y - row_height / 2:.1f}" width="{WIDTH}" '
            f'height="{row_height}"/>'
            f'<text class="name" x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{row.label}</text>'
            f'<line class="tail" x1="{middle:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<line class="body" x1="{low:.1f}" x2="{max(middle, low + 1):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle class="low" cx="{low:.1f}" cy="{y:.1f}" r="5"/>'
            f'<circle class="middle" cx="{middle:.1f}" cy="{y:.1f}" r="5"/></g>'
        )
    return _svg(name, height, "".join(marks))


def time_ticks(values: Sequence[float]) -> list[tuple[float, str]]:
    """Marks of a logarithmic scale of seconds that hold all values."""
    least, most = min(values, default=1), max(values, default=1)
    first = max((n for n, (value, _) in enumerate(_TIMES) if value <= least), default=0)
    last = min((n for n, (value, _) in enumerate(_TIMES) if value >= most), default=len(_TIMES) - 1)
    return list(_TIMES[first : max(last, first + 1) + 1])


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    run: list[tuple[int, float]] = []
    for number, value in enumerate(values):
        if value is not None:
            run.append((number, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _nice(value: float) -> float:
    """The end of a scale that four steps divide well: at least `value`, some times a power of ten."""
    if value <= 0:
        return 1
    power = 10 ** floor(log10(value))
    return float(next(step * power for step in (1, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= value))


def _grid(top: float, height: int, told: Callable[[float], str]) -> str:
    plot = height - _TOP - _BOTTOM
    found = []
    for number in range(_GRID_LINES + 1):
        y = height - _BOTTOM - plot * number / _GRID_LINES
        found.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{told(top * number / _GRID_LINES)}</text>"
        )
    return "".join(found)


def _labels(labels: Sequence[str], height: int) -> str:
    every = max(1, ceil(len(labels) / _MOST_LABELS))
    width = _PLOT / max(1, len(labels))
    return "".join(
        f'<text class="tick" x="{_LEFT + (number + 0.5) * width:.1f}" y="{height - 10}" text-anchor="middle">'
        f"{label}</text>"
        for number, label in enumerate(labels)
        if number % every == 0
    )


def _svg(name: str, height: int, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{content}</svg>'
