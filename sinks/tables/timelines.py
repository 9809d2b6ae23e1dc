"""A message's postbacks with the bodies that lie in the raw log, as many as one answer has room for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.records import PostbackView
from sinks.personal.held import Withheld
from sinks.tables.sqlite_rows import PostbackRow, postback_of
from sinks.tables.tables_reader import BodyAt

#: In the view of a postback whose body lies in the raw log and is of a recipient who was erased.
BODY_ERASED: Final = "body_erased"


def with_bodies(
    rows: Iterable[PostbackRow], body_at: BodyAt, *, most_bytes: int, withheld: Withheld | None = None
) -> list[PostbackView]:
    """Each with its body, while there is room and nobody in it was erased; the log is read with no snapshot held."""
    room_bytes = most_bytes
    shown: list[PostbackView] = []
    for row in rows:
        body = body_at(row.position)
        if body is not None and withheld is not None and withheld(body):
            view = postback_of(row, None)
            shown.append({**view, "flags": [*view["flags"], BODY_ERASED]})
            continue
        fits = body is None or len(body) <= room_bytes
        room_bytes -= len(body) if body is not None and fits else 0
        shown.append(postback_of(row, body if fits else None, left_out=not fits))
    return shown
