"""The period a report is of, and the one before it. Pure; now is passed in."""

from __future__ import annotations

from schemas.times import iso_ms
from sendtrace.spans import EXPECTED_MOMENT, SpanError, moment_ms
from sinks.tables.report_rows import Period


def period_since(since: str, now_ms: int) -> Period:
    """The period from `since` to now, and the one as long before it. `since` is what `spans.moment_ms` takes.

    Raises `SpanError`.
    """
    span_ms = now_ms - moment_ms(since, now_ms)
    if span_ms <= 0:
        raise SpanError(f"{since.strip()!r} is not in the past, {EXPECTED_MOMENT}")
    return Period(iso_ms(now_ms - 2 * span_ms), iso_ms(now_ms - span_ms), iso_ms(now_ms))
