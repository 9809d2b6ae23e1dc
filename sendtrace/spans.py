"""Lengths of time as people write them: `90s`, `30m`, `2h`, `3d`."""

from __future__ import annotations

import re
from typing import Final

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MOST_DAYS: Final = 366


class SpanError(ValueError):
    """A text that is no length of time; the message says what is expected."""


def span_ms(text: str) -> int:
    """`2h` → 7 200 000. More than nothing, at most a year. Raises `SpanError`."""
    match = _SPAN.fullmatch(text)
    value_ms = int(match[1]) * _UNITS_MS[match[2]] if match else 0
    if not 0 < value_ms <= _MOST_DAYS * _UNITS_MS["d"]:
        raise SpanError(f"expected a length of time such as 30m, 2h or 3d, at most {_MOST_DAYS}d")
    return value_ms
