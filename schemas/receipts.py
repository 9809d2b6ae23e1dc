"""Receipt ids: UUID version 7 (RFC 9562), so that they sort by the time they were given."""

from __future__ import annotations

import os
from typing import Final

_COUNTER_BITS: Final = 74  # the bits of a UUIDv7 that are neither time, version nor variant


class ReceiptIds:
    """Hands out UUIDv7 texts, growing within one process even inside one millisecond.

    The 74 free bits start at random each millisecond and count up by one; a collision between two
    processes needs equal milliseconds and equal 74-bit values. Not thread-safe: one per loop.
    """

    __slots__ = ("_bits", "_last_ms")

    def __init__(self) -> None:
        self._last_ms = -1
        self._bits = 0

    def next(self, now_ms: int) -> str:
        """The next id; `now_ms` may stand still or go back, the ids still grow."""
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._bits = int.from_bytes(os.urandom(10)) >> (80 - _COUNTER_BITS + 1)  # top bit 0: room to count
        else:
            self._bits += 1
        high, low = self._bits >> 62, self._bits & 0x3FFFFFFFFFFFFFFF
        value = f"{self._last_ms:012x}{0x7000 | high:04x}{0x8000000000000000 | low:016x}"
        return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"
