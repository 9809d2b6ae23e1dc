"""Lengths of time and moments as people write them: `90m`, `24h`, `7d`, `2026-11-21T18:00Z`. Pure; now is passed in."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DAY_MS: Final = _UNITS_MS["d"]
#: Ten years; nothing here is older.
LONGEST_MS: Final = 3_660 * _DAY_MS
EXPECTED_SPAN: Final = "expected a length of time such as 30m, 2h or 3d"
EXPECTED_MOMENT: Final = (
    "expected a length such as 90m, 24h, 7d or 2w, or a moment such as 2020-08-31 or 2020-08-31T18:00Z"
)
_TOLD_CHARS: Final = 40


class SpanError(ValueError):
    """A text that is no length of time or no moment; the message is one line that says what is expected."""


def span_ms(text: str, *, most_days: int) -> int:
    """`2h` → 7 200 000. More than nothing, at most `most_days`. Raises `SpanError`."""
    found = _span_ms(text)
    if found is None or not 0 < found <= most_days * _DAY_MS:
        raise SpanError(f"{EXPECTED_SPAN}, at most {most_days}d")
    return found


def moment_ms(text: str, now_ms: int) -> int:
    """`24h`: so long before now; or a day or time in ISO 8601, UTC unless it says. Raises `SpanError`."""
    text = text.strip()
    ago_ms = _span_ms(text)
    if ago_ms is None:
        try:
            given = datetime.fromisoformat(text)
            ago_ms = now_ms - round((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise SpanError(f"{text[:_TOLD_CHARS]!r} says no time, {EXPECTED_MOMENT}") from None
    if ago_ms > LONGEST_MS:
        raise SpanError(f"{text!r} is more than ten years, {EXPECTED_MOMENT}")
    return now_ms - ago_ms


def _span_ms(text: str) -> int | None:
    found = _SPAN.fullmatch(text.lower())
    return int(found[1]) * _UNITS_MS[found[2]] if found else None
