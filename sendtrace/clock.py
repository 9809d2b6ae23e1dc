"""The machine's clock: the one place where the program reads the time (tests/unit/test_import_law.py)."""

from __future__ import annotations

import time


class SystemClock:
    """`schemas.ports.Clock` on the operating system's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Unix milliseconds. May jump when the machine's clock is set."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds since some fixed point, never going back."""
        return time.monotonic()
