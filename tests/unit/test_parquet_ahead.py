"""Reading one piece ahead: the same pieces, the same errors, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from sinks.parquet.ahead import ahead


class Numbers:
    """Counts to an end, and knows whether it was closed."""

    def __init__(self, end: int, error: Exception | None = None) -> None:
        self.end = end
        self.error = error
        self.given = 0
        self.closed = False

    def all(self) -> Generator[int, None, None]:
        try:
            for number in range(1, self.end + 1):
                self.given = number
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


@pytest.mark.parametrize("end", [0, 1, 2, 50])
def test_the_pieces_come_in_order_and_all(end: int) -> None:
    assert list(ahead(Numbers(end).all())) == list(range(1, end + 1))


def test_an_error_comes_where_it_happened() -> None:
    pieces = ahead(Numbers(2, OSError("gone")).all())

    assert (next(pieces), next(pieces)) == (1, 2)
    with pytest.raises(OSError, match="gone"):
        next(pieces)


def test_who_leaves_early_leaves_nothing_open_and_no_thread() -> None:
    threads, numbers = threading.active_count(), Numbers(10**9)
    pieces = ahead(numbers.all())
    next(pieces)
    pieces.close()

    assert numbers.closed
    assert numbers.given <= 4
    assert threading.active_count() == threads
