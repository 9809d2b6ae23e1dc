"""Lists in pages, newest first: how much one answer may hold, and where the next goes on.

A cursor is opaque to whoever holds it and names the last row seen, never a count of rows, so that
rows added between two requests neither repeat nor hide one.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from schemas.times import epoch_ms, iso_ms

DEFAULT_ITEMS: Final = 100
MOST_ITEMS: Final = 1_000
#: A page ends early here: a thousand bodies at their limit would be half a gigabyte.
MOST_PAGE_BYTES: Final = 8 * 1024 * 1024
#: Above every row number and log position: where a list without a cursor begins.
NEWEST: Final = 2**63 - 1

_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_INSIDE: Final = re.compile(rb"([a-z]+):([0-9]{1,19})")
_INSIDE_IN_TIME: Final = re.compile(rb"([a-z]+):([0-9]{1,15}):([0-9A-Za-z_-]{1,128})")
_LAST_MS: Final = 253_402_300_799_999  # the year 9999 ends

Item = TypeVar("Item")
Row = TypeVar("Row")


class CursorError(ValueError):
    """A text that is no cursor of this list; the message is fit to be shown."""


class Page(NamedTuple, Generic[Item]):
    """Items, newest first. `next_cursor` is `None` after the last; a page may hold fewer than asked for."""

    items: list[Item]
    next_cursor: str | None


def cursor_after(kind: str, number: int) -> str:
    """The cursor of the list `kind` (a-z) that goes on below `number`."""
    return urlsafe_b64encode(f"{kind}:{number}".encode()).rstrip(b"=").decode()


def cursor_number(kind: str, cursor: str | None) -> int:
    """The inverse of `cursor_after`; `NEWEST` without a cursor. Raises `CursorError`."""
    if cursor is None:
        return NEWEST
    inside = _INSIDE.fullmatch(_decoded(cursor))
    if inside is None or inside[1] != kind.encode() or int(inside[2]) > NEWEST:
        raise _no_cursor(kind)
    return int(inside[2])


def cursor_in_time(kind: str, at: str, name: str) -> str:
    """The cursor of a list in the order of a time and, among equals, of an id; goes on below both."""
    return urlsafe_b64encode(f"{kind}:{epoch_ms(at)}:{name}".encode()).rstrip(b"=").decode()


def place_in_time(kind: str, cursor: str) -> tuple[str, str]:
    """The inverse of `cursor_in_time`: time and id. Raises `CursorError`."""
    inside = _INSIDE_IN_TIME.fullmatch(_decoded(cursor))
    if inside is None or inside[1] != kind.encode() or int(inside[2]) > _LAST_MS:
        raise _no_cursor(kind)
    return iso_ms(int(inside[2])), inside[3].decode()


def check_limit(limit: int) -> None:
    """Raises `ValueError` for a limit that no list takes."""
    if not 1 <= limit <= MOST_ITEMS:
        raise ValueError(f"limit is {limit}, expected 1 to {MOST_ITEMS}")


def page_of(
    kind: str,
    rows: Iterable[Row],
    *,
    limit: int,
    number: Callable[[Row], int],
    size_bytes: Callable[[Row], int],
    view: Callable[[Row], Item],
) -> Page[Item]:
    """The first `limit` rows or the first `MOST_PAGE_BYTES`, one at least; `rows` has one more where there are more."""
    return page_by(
        rows, limit=limit, cursor=lambda row: cursor_after(kind, number(row)), size_bytes=size_bytes, view=view
    )


def page_by(
    rows: Iterable[Row],
    *,
    limit: int,
    cursor: Callable[[Row], str],
    size_bytes: Callable[[Row], int],
    view: Callable[[Row], Item],
) -> Page[Item]:
    """The same, with a cursor made of the last row."""
    items: list[Item] = []
    last: Row | None = None
    total_bytes = 0
    for row in rows:
        total_bytes += size_bytes(row)
        if len(items) == limit or (last is not None and total_bytes > MOST_PAGE_BYTES):
            return Page(items, None if last is None else cursor(last))
        items.append(view(row))
        last = row
    return Page(items, None)


def _no_cursor(kind: str) -> CursorError:
    return CursorError(f"this is no cursor of this list ({kind}); take next_cursor of an answer as it is")


def _decoded(cursor: str) -> bytes:
    if not _CURSOR.fullmatch(cursor):
        return b""
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except Base64Error:
        return b""
