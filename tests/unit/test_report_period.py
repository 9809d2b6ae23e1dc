"""What `--since` means, and what it says of what it does not understand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import epoch_ms, iso_ms
from sendtrace.report.period import period_since
from sendtrace.spans import SpanError
from sinks.tables.report_rows import Period

NOW = "2020-09-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("since", "begins"),
    [
        ("24h", "2020-08-31T12:00:00.000Z"),
        (" 7D ", "2020-08-25T12:00:00.000Z"),
        ("90m", "2020-09-01T10:30:00.000Z"),
        ("2w", "2020-08-18T12:00:00.000Z"),
        ("2020-08-31", "2020-08-31T00:00:00.000Z"),
        ("2020-08-31T18:00Z", "2020-08-31T18:00:00.000Z"),
        ("2020-08-31T18:00:00+02:00", "2020-08-31T16:00:00.000Z"),
        ("2020-08-31 18:00", "2020-08-31T18:00:00.000Z"),
    ],
)
def test_a_length_or_a_moment_is_taken(since: str, begins: str) -> None:
    found = period_since(since, epoch_ms(NOW))

    assert (found.since, found.until) == (begins, NOW)


@given(span_ms=st.integers(1, 3_650 * 86_400_000))
def test_the_period_before_is_as_long(span_ms: int) -> None:
    now_ms = epoch_ms(NOW)
    found = period_since(iso_ms(now_ms - span_ms), now_ms)

    assert found == Period(iso_ms(now_ms - 2 * span_ms), iso_ms(now_ms - span_ms), NOW)


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("yesterday", "'yesterday' says no time, expected a length such as 90m, 24h"),
        ("", "'' says no time"),
        ("24", "'24' says no time"),
        ("-3h", "'-3h' says no time"),
        ("0h", "'0h' is not in the past"),
        (NOW, "is not in the past"),
        ("9999-12-31", "'9999-12-31' is not in the past"),
        ("999999d", "'999999d' is more than ten years"),
        ("0001-01-01", "is more than ten years"),
        ("x" * 500, f"'{'x' * 40}' says no time"),
    ],
)
def test_anything_else_is_told_in_one_line(since: str, told: str) -> None:
    with pytest.raises(SpanError) as caught:
        period_since(since, epoch_ms(NOW))

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
