"""A report for a terminal of 80 columns and more, and the same as plain lines for pipes. Pure up to printing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from sendtrace.report.figures import Report, Slice, Totals
from sendtrace.report.told import (
    Change,
    Tone,
    change_of_count,
    change_of_rate,
    changed_latency,
    counted,
    latency,
    minute,
    nothing,
    percent,
    seconds,
    span,
    step_start,
    step_word,
)
from sendtrace.terminal import Cell, Grid, console, is_fancy, padded, safe, say, say_text
from sendtrace.timeline import NONE

_TONES: Final = {Tone.GOOD: "green", Tone.BAD: "red", Tone.SAME: "dim"}
_SEVERITIES: Final = {"critical": "bold red", "error": "red", "warning": "yellow"}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_NAME_CHARS: Final = 36
_REASON_CHARS: Final = 120
_MOST_CLASSES: Final = 8
_FEWEST_STEPS: Final = 6
_LATENCIES: Final = ("p50_seconds", "p95_seconds")

#: What stands in one place of a table: a text, or a figure and what changed, each in its style.
Place = Cell | tuple[Cell, Cell]


class Section(NamedTuple):
    """A heading, a table below it if there is something to show, and lines. `right` names columns of numbers."""

    title: str
    headings: tuple[str, ...] = ()
    rows: Sequence[tuple[Place, ...]] = ()
    right: frozenset[str] = frozenset()
    lines: Sequence[Cell] = ()


def show(report: Report) -> None:
    """Print it."""
    beside = "beside the" if report.previous.messages else "with nothing to compare with in the"
    say(f"{minute(report.since)} to {minute(report.until)} UTC, {beside} {span(report)} before", "bold")
    say("rates are of messages with an outcome, their changes in percent points", "dim")
    if report.is_empty:
        say(nothing(report))
    for section in sections(report):
        _show(section if report.previous.messages else _alone(section))


def _show(section: Section) -> None:
    say()
    say(section.title, "bold cyan")
    if section.rows:
        _show_table(section)
    for line in section.lines:
        say_text(Text(safe(line.text), style=line.style))


def _alone(section: Section) -> Section:
    """Without what compares it with a period of which nothing is known."""
    rows = [row for row in section.rows if row[0] not in {Cell("before", "dim"), Cell("change", "dim")}]
    return section._replace(
        rows=[tuple(place if isinstance(place, Cell) else place[0] for place in row) for row in rows]
    )


def sections(report: Report) -> Iterator[Section]:
    """What there is something to say of; incidents, dead letters and the account always."""
    if not report.is_empty:
        yield _volumes(report)
        yield _slices(report.slices)
    if report.now.failed:
        yield _classes(report)
        yield _reasons(report)
        yield _failing(report)
    if report.slowest_campaigns:
        yield _slowest(report)
    yield _incidents(report)
    yield _dead(report)
    style = {True: "green", False: "bold red", None: "yellow"}[report.audit_balanced]
    yield Section("Audit, of all times", lines=[Cell(report.audit, style)])


def spark(values: Sequence[float]) -> str:
    """A row of blocks, the highest for the largest; a value above nothing is never without one."""
    most = max(values, default=0) or 1
    return "".join(
        _BLOCKS[min(len(_BLOCKS) - 1, int(value / most * len(_BLOCKS)))] if value else " " for value in values
    )


def _volumes(report: Report) -> Section:
    now, before = report.now, report.previous
    headings = ("", "messages", "delivered", "bounced", "aborted", "open", "p50", "p95")
    before_latencies = (getattr(report.latency_before, name, None) for name in _LATENCIES)
    rows = [
        _totals_row(span(report), now, *(latency(report, name) for name in _LATENCIES)),
        _totals_row("before", before, *map(seconds, before_latencies), style="dim"),
        (
            Cell("change", "dim"),
            _changed(change_of_count(now.messages, before.messages)),
            *(_changed(one) for one in _rate_changes(now, before)),
            _changed(change_of_count(now.pending, before.pending)),
            *(_changed(changed_latency(report, name)) for name in _LATENCIES),
        ),
    ]
    return Section("Messages", headings, rows, frozenset(headings[1:]), [*_sparks(report), *_marks(now)])


def _sparks(report: Report) -> Iterator[Cell]:
    steps = report.steps
    if len(steps) < _FEWEST_STEPS:
        return
    peak = max(steps, key=lambda step: step.now.messages)
    worst = max(steps, key=lambda step: step.now.failure_rate or 0.0)
    by, counts = f"messages by {step_word(report)}", [one.now.messages for one in steps]
    yield Cell("")
    yield Cell(f"{by}  {spark(counts)}  most {counted(peak.now.messages)}, {step_start(report, peak.start)}")
    if report.now.failed:
        row, most = spark([one.now.failure_rate or 0.0 for one in steps]), percent(worst.now.failure_rate)
        yield Cell(f"{'failed of them':<{len(by)}}  {row}  most {most}, {step_start(report, worst.start)}", "red")


def _totals_row(name: str, totals: Totals, *latencies: str, style: str = "") -> tuple[Cell, ...]:
    rates = (totals.delivery_rate, totals.bounce_rate, totals.abort_rate)
    cells = (counted(totals.messages), *map(percent, rates), counted(totals.pending), *latencies)
    return (Cell(name, style), *(Cell(text, style) for text in cells))


def _rate_changes(now: Totals, before: Totals) -> tuple[Change, Change, Change]:
    return (
        change_of_rate(now.delivery_rate, before.delivery_rate, more_is=Tone.GOOD),
        change_of_rate(now.bounce_rate, before.bounce_rate, more_is=Tone.BAD),
        change_of_rate(now.abort_rate, before.abort_rate, more_is=Tone.BAD),
    )


def _marks(now: Totals) -> Iterator[Cell]:
    if now.conflicts:
        yield Cell(f"{counted(now.conflicts)} contradict themselves, such as a bounce after a delivery", "yellow")
    if now.overdue:
        yield Cell(f"{counted(now.overdue)} are overdue", "yellow")


def _slices(slices: Sequence[Slice]) -> Section:
    headings = ("source", "channel", "messages", "delivered", "bounced", "aborted")
    rows: list[tuple[Place, ...]] = []
    for one in slices:
        changes = (change_of_count(one.now.messages, one.before.messages), *_rate_changes(one.now, one.before))
        rates = (one.now.delivery_rate, one.now.bounce_rate, one.now.abort_rate)
        figures = (counted(one.now.messages), *map(percent, rates))
        pairs = zip(figures, changes, strict=True)
        rows.append((Cell(one.source), Cell(one.channel or NONE), *((Cell(told), _short(by)) for told, by in pairs)))
    return Section("By source and channel", headings, rows, frozenset(headings[2:]))


def _classes(report: Report) -> Section:
    classes = [one for one in report.failure_classes if one.now]
    rows = [
        (
            Cell(one.bounce_class or NONE, "red"),
            (Cell(counted(one.now)), _short(change_of_count(one.now, one.before, more_is=Tone.BAD))),
            Cell(percent(one.now / report.now.failed)),
            Cell(one.advice or one.meaning or NONE),
        )
        for one in classes[:_MOST_CLASSES]
    ]
    rest = classes[_MOST_CLASSES:]
    lines = [Cell(f"and {counted(sum(one.now for one in rest))} of {len(rest)} more classes", "dim")] if rest else []
    return Section(
        "Why messages failed", ("class", "failed", "share", "what to do"), rows, frozenset(("failed", "share")), lines
    )


def _reasons(report: Report) -> Section:
    rows = [
        (
            Cell(one.bounce_class or NONE, "red"),
            (Cell(counted(one.now)), _short(change_of_count(one.now, one.before, more_is=Tone.BAD))),
            Cell(_cut(one.reason or "(no reason given)", _REASON_CHARS)),
        )
        for one in report.failures
    ]
    example = Cell(f"one of the first: sendtrace show {report.failures[0].example_message_id}", "dim")
    return Section("In the provider's words", ("class", "failed", "reason"), rows, frozenset(("failed",)), [example])


def _failing(report: Report) -> Section:
    headings = ("campaign", "source", "messages", "failed", "rate")
    rows = [
        (
            Cell(_name(one.campaign_id)),
            Cell(one.source),
            Cell(counted(one.messages)),
            Cell(counted(one.failed), "red"),
            (
                Cell(percent(one.failure_rate)),
                _changed(change_of_rate(one.failure_rate, one.failure_rate_before, more_is=Tone.BAD)),
            ),
        )
        for one in report.failing_campaigns
    ]
    return Section("Most failing campaigns", headings, rows, frozenset(headings[2:]))


def _slowest(report: Report) -> Section:
    headings = ("campaign", "source", "delivered", "p50", "p95", "p99")
    rows = [
        (
            Cell(_name(one.campaign_id)),
            Cell(one.source),
            Cell(counted(one.latency.messages)),
            Cell(seconds(one.latency.p50_seconds)),
            Cell(seconds(one.latency.p95_seconds), "yellow"),
            Cell(seconds(one.latency.p99_seconds)),
        )
        for one in report.slowest_campaigns
    ]
    return Section("Slowest campaigns, sent to delivered", headings, rows, frozenset(headings[2:]))


def _incidents(report: Report) -> Section:
    if not report.incidents:
        return Section("Open incidents", lines=[Cell("none", "green")])
    rows = [
        (
            Cell(one.severity, _SEVERITIES.get(one.severity, "")),
            Cell(counted(one.count) if one.total is None else f"{counted(one.count)} of {counted(one.total)}"),
            Cell(_at(one.first_seen)),
            Cell(f"{one.title}{' (acknowledged)' if one.acknowledged_at else ''}"),
        )
        for one in report.incidents
    ]
    headings = ("severity", "count", "since", "what happened")
    more = Cell("each with what to do: sendtrace incidents", "dim")
    return Section("Open incidents", headings, rows, frozenset(("count",)), [more])


def _dead(report: Report) -> Section:
    if not report.dead:
        return Section("Dead letters", lines=[Cell("none", "green")])
    rows = [
        (
            Cell(one.reason, "magenta"),
            (Cell(counted(one.now)), _short(change_of_count(one.now, one.before, more_is=Tone.BAD))),
            Cell(counted(one.open)),
            Cell(one.advice or NONE),
        )
        for one in report.dead
    ]
    return Section("Dead letters", ("reason", "new", "open", "what to do"), rows, frozenset(("new", "open")))


def _changed(change: Change) -> Cell:
    return Cell(change.text, _TONES[change.tone])


def _short(change: Change) -> Cell:
    """Narrower, where the columns are many: points of a rate without their unit."""
    text = change.text if change.text.startswith("was") else change.text.removesuffix(" pp").replace(" ", "")
    return Cell(text, _TONES[change.tone])


def _name(campaign_id: str | None) -> str:
    return _cut(campaign_id, _NAME_CHARS) if campaign_id else "(no campaign)"


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"


def _at(iso: str) -> str:
    return minute(iso)[5:]


def _show_table(section: Section) -> None:
    """A table of which only the last column is wrapped; lines of text where nobody watches."""
    by_column = zip(section.headings, zip(*section.rows, strict=True), strict=True)
    columns = [_column(heading, places) for heading, places in by_column]
    if not is_fancy():
        rows = [tuple(Cell(text.plain) for text in row) for row in zip(*columns, strict=True)]
        for line in Grid(section.headings, rows, section.right).lines():
            say(line)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="dim")
    for place, (heading, texts) in enumerate(zip(section.headings, columns, strict=True)):
        is_last = place == len(columns) - 1
        width = None if is_last else max(cell_len(heading), *(text.cell_len for text in texts))
        # What has a change beside it is as wide as the column already, and rich would strip the blanks at its end.
        is_right = heading in section.right
        is_plain = isinstance(section.rows[0][place], Cell)
        table.add_column(
            Text(heading, justify="right" if is_right else "left"),
            justify="right" if is_right and is_plain else "left",
            width=width,
            no_wrap=not is_last,
            overflow="fold",
        )
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    console().print(table)


def _column(heading: str, places: Sequence[Place]) -> list[Text]:
    """The texts of one column; where they have changes beside them, figures end and changes begin in one line."""
    pairs = [place for place in places if not isinstance(place, Cell)]
    by_chars = max((cell_len(safe(change.text)) for _, change in pairs), default=0)
    told_chars = max((cell_len(safe(figure.text)) for figure, _ in pairs), default=0)
    told_chars = max(told_chars, cell_len(heading) - by_chars - 1)
    texts = []
    for place in places:
        if isinstance(place, Cell):
            texts.append(Text(safe(place.text), style=place.style))
        else:
            figure, change = place
            told = Text(padded(safe(figure.text), told_chars, right=True), style=figure.style)
            texts.append(told.append(f" {padded(safe(change.text), by_chars)}", style=change.style))
    return texts
