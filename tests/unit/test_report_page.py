"""The page of a report: whole, alone, and harmless whatever providers wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from typing_extensions import override

from sendtrace.report.charts import Line, Stack, lines, stacked, time_ticks
from sendtrace.report.page import page
from tests.unit.report_examples import NOTHING, ROWS, example, hostile

VOID = {"meta", "rect", "line", "circle", "polyline", "br"}


class Tags(HTMLParser):
    """Every tag, and whether each is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def tags(html: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    yield from parser.seen


@pytest.mark.parametrize("report", [example(), example(NOTHING), hostile()], ids=["full", "empty", "hostile"])
def test_it_is_well_formed_and_loads_and_runs_nothing(report: object) -> None:
    html = page(report)  # type: ignore[arg-type]  # a report, as above

    found = list(tags(html))

    assert {tag for tag, _ in found} & {"script", "link", "img", "iframe", "object", "base", "form", "a"} == set()
    assert [
        name for _, attributes in found for name in attributes if name.startswith("on") or name in {"src", "href"}
    ] == []
    assert re.findall(r"url\(|@import|https?:", html) == []
    assert "default-src 'none'" in html


def test_what_providers_wrote_is_text() -> None:
    html = page(hostile())

    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_it_says_what_the_terminal_says() -> None:
    html = page(example())

    for told in (
        "213",
        "87.7 %",
        "Stop mailing the address.",
        "Authentication refused",
        "balanced: 10 accepted",
        "spring",
    ):
        assert told in html
    assert "ann@example.com" not in html


def test_an_empty_period_says_so_without_charts() -> None:
    html = page(example(NOTHING))

    assert "nothing was heard of between" in html
    assert "<svg" not in html


def test_bars_are_as_high_as_their_counts() -> None:
    svg = stacked([Stack("a", "one", [("x", 100)]), Stack("b", "two", [("x", 50), ("y", 50)])], name="n")
    heights = [float(found) for found in re.findall(r'class="[xy]".*?height="([\d.]+)"', svg)]

    assert heights[0] == pytest.approx(2 * heights[1])
    assert heights[1] == heights[2]


def test_a_chart_of_nothing_is_a_chart() -> None:
    assert list(tags(stacked([], name="n") + stacked([Stack("a", "t", [("x", 0)])], name="n")))
    assert list(tags(lines(["a"], [Line("x", [None])], name="n", titles=["t"])))


def test_a_gap_breaks_a_line() -> None:
    svg = lines(list("abcde"), [Line("x", [0.1, 0.2, None, 0.1, 0.3])], name="n", titles=list("abcde"))

    assert svg.count("<polyline") == 2


@pytest.mark.parametrize(("values", "ends"), [([2.0, 7.0], (1, 10)), ([0.01, 5_000.0], (0.1, 36_000)), ([], (1, 10))])
def test_a_scale_of_times_holds_them(values: list[float], ends: tuple[float, float]) -> None:
    ticks = time_ticks(values)

    assert (ticks[0][0], ticks[-1][0]) == ends


def test_rows_without_a_campaign_or_a_channel_have_a_word_for_it() -> None:
    html = page(example(ROWS._replace(slowest=[one._replace(campaign_id=None) for one in ROWS.slowest])))

    assert html.count("(no campaign)") == 3
