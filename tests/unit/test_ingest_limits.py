"""The limits: their defaults are those of facts/reliability.md §5.9, and nonsense is refused."""

from __future__ import annotations

from dataclasses import fields

import pytest

from ingest.limits import Limits


def test_defaults_are_the_agreed_ones() -> None:
    limits = Limits()

    assert limits.body_bytes == 512 * 1024
    assert (limits.request_line_bytes, limits.headers_bytes, limits.header_fields) == (8192, 16384, 100)
    assert (limits.header_deadline_s, limits.body_deadline_s, limits.idle_deadline_s) == (10, 30, 75)
    assert (limits.open_connections, limits.connections_per_address) == (12_000, 11_000)
    assert (limits.in_flight_bytes, limits.partial_bytes) == (64 * 1024 * 1024, 64 * 1024 * 1024)
    assert limits.pipelined_requests == 32


@pytest.mark.parametrize("name", [limit.name for limit in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_must_be_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*, expected a number above 0$"):
        Limits(**{name: value})  # type: ignore[arg-type]  # the name varies
