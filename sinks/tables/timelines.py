"""A message's postbacks with the bodies that lie in the raw log, as many as one answer has room for."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.records import PostbackView
from sinks.tables.sqlite_rows import PostbackRow, postback_of
from sinks.tables.tables_reader import BodyAt


def with_bodies(rows: Iterable[PostbackRow], body_at: BodyAt, *, most_bytes: int) -> list[PostbackView]:
    """Each with its body, while there is room; the log is read with no snapshot held."""
    room_bytes = most_bytes
    shown = []
    for row in rows:
        body = body_at(row.position)
        fits = body is None or len(body) <= room_bytes
        room_bytes -= len(body) if body is not None and fits else 0
        shown.append(postback_of(row, body if fits else None, left_out=not fits))
    return shown
