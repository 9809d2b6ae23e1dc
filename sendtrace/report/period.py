"""What `--since` means: a length of time before now, or a moment. Pure; now is passed in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from schemas.times import iso_ms
from sinks.tables.report_rows import Period

_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_LENGTH: Final = re.compile(r"(\d{1,6})([mhdw])")
_LONGEST_MS: Final = 3_660 * _UNIT_MS["d"]
_EXPECTED: Final = "expected a length such as 90m, 24h, 7d or 2w, or a moment such as 2020-08-31 or 2020-08-31T18:00Z"


class SinceError(ValueError):
    """A text that says no beginning; the message is fit to be shown."""


def period_since(since: str, now_ms: int) -> Period:
    """The period from `since` to now, and the one as long before it. A moment without a zone is UTC.

    Raises `SinceError`.
    """
    text = since.strip()
    length = _LENGTH.fullmatch(text.lower())
    span_ms = int(length[1]) * _UNIT_MS[length[2]] if length else now_ms - _moment_ms(text)
    if span_ms <= 0:
        what = "is no time at all" if length else "is not in the past"
        raise SinceError(f"{text!r} {what}, {_EXPECTED}")
    if span_ms > _LONGEST_MS:
        raise SinceError(f"{text!r} is more than ten years, {_EXPECTED}")
    return Period(iso_ms(now_ms - 2 * span_ms), iso_ms(now_ms - span_ms), iso_ms(now_ms))


def _moment_ms(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise SinceError(f"{text[:40]!r} says no time, {_EXPECTED}") from None
