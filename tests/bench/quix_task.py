"""What `tests.bench.quix_frame` is told: apart from it, because only its own environment can import that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuixTask:
    """Where to work; states lie in `directory`. `cached_messages` is what the worker has."""

    address: str
    prefix: str
    group: str
    directory: str
    cached_messages: int
