"""What an answer means, and when a message is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.notifications.answers import (
    FIRST_PAUSE_MS,
    MOST_PAUSE_MS,
    MOST_RETRY_AFTER_S,
    first_line,
    next_ms,
    outcome_of,
    retry_after_s,
)
from sinks.notifications.guarded_http import Answer

NOW_MS = 1_600_000_000_000


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *((status, "delivered") for status in (200, 201, 202, 204)),
        *((status, "again") for status in (0, 408, 425, 429, 500, 502, 503, 504, 599)),
        *((status, "refused") for status in (301, 304, 400, 401, 403, 404, 405, 410, 413, 415, 422, 501, 505)),
    ],
)
def test_what_a_status_means(status: int, state: str) -> None:
    assert outcome_of(Answer(status, {}, b"", 0.0, "no answer"), now_ms=NOW_MS).state == state


def test_where_nothing_must_go_nothing_is_tried_again() -> None:
    assert outcome_of(Answer(0, {}, b"", 0.0, "inside", guarded=True), now_ms=NOW_MS).state == "refused"


def test_some_say_that_they_are_busy_in_their_own_way() -> None:
    assert outcome_of(Answer(403, {}, b"", 0.0), now_ms=NOW_MS, also_again={403}).state == "again"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("99999999999999999999", MOST_RETRY_AFTER_S),
        ("Sun, 13 Sep 2020 12:27:40 GMT", 60.0),
        ("Sun, 13 Sep 2020 12:00:00 GMT", 0.0),
        ("Sun, 13 Sep 2099 12:00:00 GMT", MOST_RETRY_AFTER_S),
        *((text, None) for text in ("", "soon", "-5", "1.5", "²", "Sun, 99 Sep 2020 12:00:00 GMT")),
    ],
)
def test_a_target_may_ask_for_patience_within_reason(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, NOW_MS) == seconds


def test_pauses_grow_to_ten_minutes_and_are_the_same_for_the_same_message() -> None:
    pauses = [next_ms("m", attempts=number, now_ms=0, after_s=None) for number in range(1, 40)]

    assert pauses == [next_ms("m", attempts=number, now_ms=0, after_s=None) for number in range(1, 40)]
    assert 0.75 * FIRST_PAUSE_MS <= pauses[0] <= 1.25 * FIRST_PAUSE_MS
    assert all(0.75 * MOST_PAUSE_MS <= pause <= 1.25 * MOST_PAUSE_MS for pause in pauses[8:])
    assert len({next_ms(f"m{number}", attempts=1, now_ms=0, after_s=None) for number in range(50)}) > 20


def test_what_is_asked_for_goes_before_a_shorter_pause() -> None:
    assert next_ms("m", attempts=1, now_ms=1000, after_s=60.0) == 61_000


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", ""),
        (b"\r\n  \nsecond\nthird", "second"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x1b[31m jane@example.com", "[31m [address]"),
        (b"x" * 1000, "x" * 199 + "…"),
    ],
)
def test_an_answer_is_shown_by_its_first_line(body: bytes, line: str) -> None:
    assert first_line(body) == line


@given(st.text())
def test_whatever_a_target_asks_for_is_some_patience_or_none(text: str) -> None:
    asked = retry_after_s(text, NOW_MS)

    assert asked is None or 0 <= asked <= MOST_RETRY_AFTER_S


@given(st.binary(max_size=400))
def test_whatever_a_target_answers_is_one_line_that_any_table_holds(body: bytes) -> None:
    line = first_line(body)

    assert len(line) <= 200
    assert not {"\0", "\n", "\r", "\x1b"} & set(line)
