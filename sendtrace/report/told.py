"""Figures of a report in words: counts, rates, lengths of time, and what changed since the period before. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from schemas.times import epoch_ms
from sendtrace.report.figures import Percentiles, Report
from sendtrace.timeline import NONE, duration

#: Below a tenth, rates are told with two decimals: of bounces each hundredth counts.
_TENTH: Final = 0.1
#: More than ten times is told as a number of times; of fewer than ten, per cent would say nothing.
_MANY: Final = 10
_MINUTE_CHARS: Final = len("2020-08-31 18:58")
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000


class Tone(StrEnum):
    """Whether a change is welcome."""

    GOOD = "good"
    BAD = "bad"
    SAME = "same"


class Change(NamedTuple):
    """`▲ 4.6 %`, and whether that is welcome."""

    text: str
    tone: Tone


NO_CHANGE: Final = Change("", Tone.SAME)


def percent(rate: float | None) -> str:
    """`96.3 %`, `0.42 %`; a dash for none."""
    if rate is None:
        return NONE
    if not rate:
        return "0 %"
    return f"{100 * rate:.1f} %" if rate >= _TENTH else f"{100 * rate:.2f} %"


def counted(count: int) -> str:
    """`12,345`."""
    return f"{count:,}"


def seconds(value: float | None) -> str:
    """`1.2 s`, `14 min`."""
    return NONE if value is None else duration(round(value * 1000))


def change_of_count(now: int, before: int, *, more_is: Tone = Tone.SAME) -> Change:
    """In per cent of what was before; a small number is told itself."""
    if now == before:
        return Change("=", Tone.SAME) if now else NO_CHANGE
    if not before:
        return Change("new", _tone(1, more_is))
    if before < _MANY:
        return Change(f"was {before}", _tone(now - before, more_is))
    if now > _MANY * before:
        return Change(f"▲ {now / before:.0f}-fold", _tone(1, more_is))
    return _arrow(100 * (now - before) / before, "%", more_is, decimals=0 if abs(now - before) * 10 >= before else 1)


def change_of_rate(now: float | None, before: float | None, *, more_is: Tone) -> Change:
    """In percent points; nothing where there is nothing to compare."""
    if now is None or before is None:
        return NO_CHANGE
    return _arrow(100 * (now - before), "pp", more_is, decimals=2 if max(now, before) < _TENTH else 1)


def change_of_time(now: float | None, before: float | None) -> Change:
    """As a length of time; longer is bad."""
    if now is None or before is None:
        return NO_CHANGE
    if round(1000 * now) == round(1000 * before):
        return Change("=", Tone.SAME)
    return Change(f"{'▲' if now > before else '▼'} {seconds(abs(now - before))}", _tone(now - before, Tone.BAD))


def changed_latency(report: Report, name: str) -> Change:
    """Of `p50_seconds` and the like."""
    return change_of_time(_of(report.latency_now, name), _of(report.latency_before, name))


def latency(report: Report, name: str) -> str:
    """The same as it is now."""
    return seconds(_of(report.latency_now, name))


def minute(iso: str) -> str:
    """`2020-08-31 18:58`."""
    return iso.replace("T", " ")[:_MINUTE_CHARS]


def span(report: Report) -> str:
    """How long the period is: `24 hours`, `7 days`."""
    span_ms = epoch_ms(report.until) - epoch_ms(report.since)
    units = ((_HOUR_MS, "hour"),) if span_ms == _DAY_MS else ((_DAY_MS, "day"), (_HOUR_MS, "hour"))
    for unit_ms, word in units:
        if span_ms % unit_ms == 0:
            return f"{span_ms // unit_ms} {word}{'s' if span_ms > unit_ms else ''}"
    return duration(span_ms)


def step_word(report: Report) -> str:
    """`hour`, `6 hours`, `day`, `week`, `4 weeks`."""
    hours = report.step_seconds // 3_600
    for unit, word in ((168, "week"), (24, "day"), (1, "hour")):
        if hours % unit == 0:
            return word if hours == unit else f"{hours // unit} {word}s"
    raise ValueError(f"a step of {report.step_seconds} s")


def step_start(report: Report, iso: str) -> str:
    """`08-31 18:00`, `2020-08-31` where steps are long."""
    return minute(iso)[5:] if report.step_seconds < _DAY_MS // 1000 else iso[:10]


def nothing(report: Report) -> str:
    """What is said of an empty period."""
    line = f"nothing was heard of between {minute(report.since)} and {minute(report.until)} UTC"
    if report.last_message_at is None:
        return f"{line}; there are no messages yet"
    if report.last_message_at >= report.since:
        return line
    return f"{line}; the newest message is of {minute(report.last_message_at)}, a longer --since shows it"


def _of(found: Percentiles | None, name: str) -> float | None:
    return None if found is None else float(getattr(found, name))


def _arrow(difference: float, unit: str, more_is: Tone, *, decimals: int) -> Change:
    text = f"{abs(difference):.{decimals}f}"
    if not float(text):
        return Change("=", Tone.SAME)
    return Change(f"{'▲' if difference > 0 else '▼'} {text} {unit}", _tone(difference, more_is))


def _tone(difference: float, more_is: Tone) -> Tone:
    if more_is is Tone.SAME:
        return Tone.SAME
    return more_is if difference > 0 else Tone.GOOD if more_is is Tone.BAD else Tone.BAD
