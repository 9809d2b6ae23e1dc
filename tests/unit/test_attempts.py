"""Only a record that ends the process every time is suspected; those beside it never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.attempts import MarkedAttempts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "attempt"


def test_a_record_that_was_not_put_down_is_counted_over_restarts(path: Path) -> None:
    assert [MarkedAttempts(path).take_up(7) for _ in range(3)] == [0, 1, 2]


def test_those_before_it_do_not_make_it_forgotten(path: Path) -> None:
    counts = []
    for _ in range(3):
        attempts = MarkedAttempts(path)
        for position in (5, 6):
            assert attempts.take_up(position) == 0
            attempts.put_down(position)
        counts.append(attempts.take_up(7))

    assert counts == [0, 1, 2]


def test_one_that_was_put_down_is_as_if_never_taken_up(path: Path) -> None:
    attempts = MarkedAttempts(path)
    attempts.take_up(7)
    attempts.put_down(7)

    assert MarkedAttempts(path).take_up(7) == 0


def test_what_lies_behind_is_forgotten(path: Path) -> None:
    MarkedAttempts(path).take_up(7)
    MarkedAttempts(path).take_up(8)

    assert MarkedAttempts(path).take_up(7) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"7 1"])
def test_a_file_that_was_cut_off_begins_the_counting_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert MarkedAttempts(path).take_up(7) == 0
