"""A report as one page: self-contained, no script, nothing loaded, light and dark, fit to be printed. Pure.

Every text that came from outside goes through `sendtrace.web_html.text`, or is made safe and escaped where only
plain text may stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from sendtrace.report.charts import Line, Span, Stack, lines, ranges, stacked, time_ticks
from sendtrace.report.figures import Report, SlowCampaign, Step
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
    step_word,
)
from sendtrace.terminal import safe
from sendtrace.timeline import NONE
from sendtrace.web_html import text

_STYLE: Final = files("sendtrace.report").joinpath("page.css").read_text("utf-8")
_NAME_CHARS: Final = 40
_DAY_S: Final = 86_400
_WEEK_S: Final = 7 * _DAY_S
_FEWEST_STEPS: Final = 2


def page(report: Report) -> str:
    """The whole document."""
    beside = f"beside the {span(report)} before" if report.previous.messages else "with nothing before to compare with"
    title = f"{minute(report.since)} to {minute(report.until)} UTC"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>sendtrace report: {title}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>Did it land?</h1><p class="dim">{title}, {beside}. Rates are of messages with an outcome.</p>'
        f"{''.join(_sections(report))}"
        f'<footer class="dim"><p>{_account(report)}</p></footer></main></body></html>\n'
    )


def _sections(report: Report) -> Iterator[str]:
    if report.is_empty:
        yield f'<div class="box"><p>{escape(nothing(report))}.</p></div>'
    else:
        yield f'<section class="cards">{"".join(_cards(report))}</section>'
        if len(report.steps) >= _FEWEST_STEPS:
            yield from _charts(report)
        yield from _slices(report)
    if report.now.failed:
        yield from _failures(report)
        yield from _failing(report)
    if report.slowest_campaigns:
        yield from _slowest(report)
    yield from _incidents(report)
    yield from _dead(report)


def _cards(report: Report) -> Iterator[str]:
    now, before = report.now, report.previous
    yield _card("messages", counted(now.messages), change_of_count(now.messages, before.messages))
    for name, rate, was, more_is in (
        ("delivered", now.delivery_rate, before.delivery_rate, Tone.GOOD),
        ("bounced", now.bounce_rate, before.bounce_rate, Tone.BAD),
        ("aborted", now.abort_rate, before.abort_rate, Tone.BAD),
    ):
        yield _card(name, percent(rate), change_of_rate(rate, was, more_is=more_is))
    yield _card("open", counted(now.pending), change_of_count(now.pending, before.pending))
    yield _card("median time", latency(report, "p50_seconds"), changed_latency(report, "p50_seconds"))
    yield _card("95 of 100 in", latency(report, "p95_seconds"), changed_latency(report, "p95_seconds"))


def _card(name: str, value: str, change: Change) -> str:
    return f'<div class="card"><span>{name}</span><b>{value}</b>{_changed(change) or "<small>&nbsp;</small>"}</div>'


def _rate(rate: float | None, was: float | None, *, more_is: Tone) -> str:
    return f"{percent(rate)} {_changed(change_of_rate(rate, was, more_is=more_is))}"


def _changed(change: Change) -> str:
    tone = "" if change.tone is Tone.SAME else f' class="{change.tone}"'
    return f"<small{tone}>{change.text}</small>" if change.text else ""


def _charts(report: Report) -> Iterator[str]:
    labels = [_step_label(report, step) for step in report.steps]
    bars = [
        Stack(
            label,
            _step_title(report, step),
            [(css, getattr(step.now, css)) for css in ("delivered", "failed", "pending")],
        )
        for label, step in zip(labels, report.steps, strict=True)
    ]
    by = step_word(report)
    yield _heading(f"Messages by {by}", "By when the first postback of each came, and what became of them so far.")
    keys = _keys(("delivered", "delivered"), ("failed", "failed"), ("pending", "no outcome yet"))
    yield f'<div class="box">{keys}{stacked(bars, name=f"Messages by {by}")}</div>'
    if report.now.failed:
        yield _heading("How many failed", f"Of the messages with an outcome, by {by}.")
        drawn = [
            Line("before", [step.before.failure_rate for step in report.steps]),
            Line("now", [step.now.failure_rate for step in report.steps]),
        ]
        keys = _keys(("now stroke", f"these {span(report)}"), ("before stroke dashed", f"the {span(report)} before"))
        titles = [_rates_title(report, step) for step in report.steps]
        yield f'<div class="box">{keys}{lines(labels, drawn, name="Failure rate", titles=titles)}</div>'


def _step_label(report: Report, step: Step) -> str:
    """The time of day, at midnight the day; of longer steps the day, of the longest the month."""
    if report.step_seconds > _WEEK_S:
        return step.start[:7]
    is_day = report.step_seconds >= _DAY_S or step.start[11:16] == "00:00"
    return step.start[5:10] if is_day else step.start[11:16]


def _step_title(report: Report, step: Step) -> str:
    now = step.now
    return (
        f"{minute(step.start)}, {step_word(report)}: {counted(now.messages)} messages, "
        f"{counted(now.delivered)} delivered, {counted(now.failed)} failed, {counted(now.pending)} without an outcome"
    )


def _rates_title(report: Report, step: Step) -> str:
    rates = f"{percent(step.now.failure_rate)} failed, {percent(step.before.failure_rate)} in the period before"
    return f"{minute(step.start)}, {step_word(report)}: {rates}"


def _slices(report: Report) -> Iterator[str]:
    rows = []
    for one in report.slices:
        now, before = one.now, one.before
        rows.append(
            (
                text(one.source, most_chars=_NAME_CHARS),
                text(one.channel or NONE, most_chars=_NAME_CHARS),
                f"{counted(now.messages)} {_changed(change_of_count(now.messages, before.messages))}",
                *(
                    _rate(rate, was, more_is=more_is)
                    for rate, was, more_is in (
                        (now.delivery_rate, before.delivery_rate, Tone.GOOD),
                        (now.bounce_rate, before.bounce_rate, Tone.BAD),
                        (now.abort_rate, before.abort_rate, Tone.BAD),
                    )
                ),
            )
        )
    yield _heading("By source and channel", "")
    yield _table(("source", "channel", "messages", "delivered", "bounced", "aborted"), rows, numbers=(2, 3, 4, 5))


def _failures(report: Report) -> Iterator[str]:
    words = {one.bounce_class: one for one in reversed(report.failures)}
    most = max(one.now for one in report.failure_classes)
    rows = []
    for one in report.failure_classes:
        if not one.now:
            continue
        first = words.get(one.bounce_class)
        told = "" if first is None or first.reason is None else text(first.reason)
        rows.append(
            (
                f"<b>{text(one.bounce_class or NONE, most_chars=_NAME_CHARS)}</b>",
                _share(one.now, most, percent(one.now / report.now.failed)),
                f"{counted(one.now)} {_changed(change_of_count(one.now, one.before, more_is=Tone.BAD))}",
                f"{_plain(one.advice or one.meaning or NONE)}{f'<p>{told}</p>' if told else ''}",
            )
        )
    yield _heading("Why messages failed", "The most frequent words of the provider stand below what to do.")
    yield _table(("class", "share", "failed", "what to do"), rows, numbers=(2,), css={0: "word", 1: "share", 3: "text"})


def _share(part: int, most: int, told: str) -> str:
    wide = 100 * part / most
    return (
        '<div><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="failed" width="{wide:.1f}" height="10"/></svg>{told}</div>'
    )


def _failing(report: Report) -> Iterator[str]:
    rows = [
        (
            _campaign(one.campaign_id),
            text(one.source, most_chars=_NAME_CHARS),
            counted(one.messages),
            counted(one.failed),
            _rate(one.failure_rate, one.failure_rate_before, more_is=Tone.BAD),
        )
        for one in report.failing_campaigns
    ]
    yield _heading("Most failing campaigns", "")
    yield _table(("campaign", "source", "messages", "failed", "rate"), rows, numbers=(2, 3, 4))


def _slowest(report: Report) -> Iterator[str]:
    spans = [
        Span(
            _plain((one.campaign_id or "(no campaign)")[:_NAME_CHARS]),
            _slow_title(one),
            one.latency.p50_seconds,
            one.latency.p95_seconds,
            one.latency.p99_seconds,
        )
        for one in report.slowest_campaigns
    ]
    ticks = time_ticks([value for one in spans for value in (one.low, one.high)])
    yield _heading("Slowest campaigns", "From sent to delivered, by the provider's clock.")
    keys = _keys(("low", "median"), ("middle", "95 of 100"), ("tail", "up to 99 of 100"))
    yield f'<div class="box">{keys}{ranges(spans, ticks, name="Slowest campaigns")}</div>'


def _slow_title(one: SlowCampaign) -> str:
    found = one.latency
    return escape(
        f"{safe(one.campaign_id or '(no campaign)')}, {safe(one.source)}: {counted(found.messages)} delivered, median "
        f"{seconds(found.p50_seconds)}, 95 of 100 in {seconds(found.p95_seconds)}, 99 in {seconds(found.p99_seconds)}"
    )


def _incidents(report: Report) -> Iterator[str]:
    yield _heading("Open incidents", "")
    if not report.incidents:
        yield '<div class="box"><p class="good">none</p></div>'
        return
    tones = {"critical": "bad", "error": "bad", "warning": "wait"}
    rows = [
        (
            f'<b class="{tones.get(one.severity, "dim")}">{_plain(one.severity)}</b>',
            counted(one.count) if one.total is None else f"{counted(one.count)} of {counted(one.total)}",
            minute(one.first_seen),
            f"{text(one.title)}<p>{text(one.advice)}</p>",
            " ".join(_people(one.acknowledged_at, one.silenced_until)),
        )
        for one in report.incidents
    ]
    headings = ("severity", "count", "since (UTC)", "what happened, and what to do", "")
    yield _table(headings, rows, numbers=(1,), css={0: "word", 2: "word", 3: "text"})


def _people(acknowledged_at: str | None, silenced_until: str | None) -> Iterator[str]:
    if acknowledged_at is not None:
        yield f"acknowledged {minute(acknowledged_at)}"
    if silenced_until is not None:
        yield f"silenced until {minute(silenced_until)}"


def _dead(report: Report) -> Iterator[str]:
    yield _heading("Dead letters", "Bodies that were kept and not understood.")
    if not report.dead:
        yield '<div class="box"><p class="good">none</p></div>'
        return
    rows = [
        (
            text(one.reason, most_chars=_NAME_CHARS),
            f"{counted(one.now)} {_changed(change_of_count(one.now, one.before, more_is=Tone.BAD))}",
            counted(one.open),
            _plain(one.advice or NONE),
        )
        for one in report.dead
    ]
    yield _table(("reason", "new", "open", "what to do"), rows, numbers=(1, 2), css={0: "word", 3: "text"})


def _account(report: Report) -> str:
    tone = {True: "good", False: "bad", None: "wait"}[report.audit_balanced]
    return f'Audit, of all times: <span class="{tone}">{_plain(report.audit)}</span>'


def _plain(value: str) -> str:
    return escape(safe(value))


def _campaign(campaign_id: str | None) -> str:
    return text(campaign_id) if campaign_id else '<span class="dim">(no campaign)</span>'


def _heading(title: str, note: str) -> str:
    return f'<h2>{escape(title)}</h2><p class="note">{escape(note)}</p>'


def _keys(*keys: tuple[str, str]) -> str:
    return f'<p class="keys">{"".join(f"<span><i class={css!r}></i>{escape(told)}</span>" for css, told in keys)}</p>'


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    css: dict[int, str] | None = None,
) -> str:
    """A table of cells that are HTML already."""
    classes = {**dict.fromkeys(numbers, "number"), **(css or {})}

    def cells(tag: str, row: Sequence[str]) -> str:
        named = ((f' class="{classes[place]}"' if place in classes else "", cell) for place, cell in enumerate(row))
        return "".join(f"<{tag}{css}>{cell}</{tag}>" for css, cell in named)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f'<div class="box flush"><table>{head}<tbody>{body}</tbody></table></div>'
