"""One row of any table, held to the list: which of its columns must be rewritten, and as what. Pure.

Every text, JSON and binary column of every table is looked at, those of later releases too; left out are
only columns that hold nothing but words, times, numbers and digests of ours.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Final

import orjson

from schemas.personal import Value
from sinks.personal.batches import ERASED_DETAIL
from sinks.personal.bodies import holds_body
from sinks.personal.redactor import Redactor

Cell = str | bytes | None

#: Tables that hold no text of a sender's, or whose rows are deleted and not rewritten.
SKIPPED_TABLES: Final = frozenset(
    {"schema_migrations", "sendtrace_migrations", "erasures", "personal_data", "identifiers", "audit", "progress"}
    | {"positions", "postbacks", "incident_clock", "incident_samples"}
)
_SKIPPED: Final = frozenset(
    {"message_id", "transition_id", "receipt_id", "dead_id", "fact_id", "change_id", "incident_id", "group_id"}
    | {"status", "outcome", "from_status", "kind", "effect", "source", "provider", "stage", "severity", "table_name"}
    | {"bounce_class", "class", "change", "record_id", "content_encoding", "repeated_until", "flags"}
)
_LEAST_HINT_CHARS: Final = 3


def is_looked_at(column: str) -> bool:
    """Whether a column may hold what a sender wrote."""
    return column not in _SKIPPED and not column.endswith(("_at", "until"))


def hint_of(values: list[Value]) -> str | None:
    """Letters and digits that every text with one of `values` holds, in lower case; `None` where there are none.

    A database can look for them quickly; how else an address may be written, it cannot know.
    """
    if len(values) != 1 or values[0].shape == "phone":
        return None
    text = values[0].text.partition("@")[0]
    runs = "".join(c if c.isascii() and c.isalnum() else " " for c in text).split()
    longest = max(runs, key=len, default="")
    return longest.lower() if len(longest) >= _LEAST_HINT_CHARS else None


def rewritten(redactor: Redactor, table: str, row: Mapping[str, Cell]) -> dict[str, Cell]:
    """The columns of a row that must change, with what they become; none where nobody on the list is in it."""
    if table == "dead_letters" and isinstance(body := row.get("body"), bytes) and holds_body(redactor, body):
        return {"body": b"", "detail": ERASED_DETAIL}
    cells = row
    if table == "set_aside" and isinstance(record := row.get("record"), str):
        cells = {**row, "record": _aside(redactor, record)}
    found = {name: _cell(redactor, cell) for name, cell in cells.items() if cell is not None}
    return {name: cell for name, cell in found.items() if cell is not row[name]}


def _cell(redactor: Redactor, cell: str | bytes) -> Cell:
    if isinstance(cell, bytes):
        return _bytes(redactor, cell)
    if cell[:1] in {"{", "["}:
        try:
            value = orjson.loads(cell)
        except orjson.JSONDecodeError:
            return redactor.text(cell)
        kept = redactor.json(value)
        return cell if kept is value else orjson.dumps(kept).decode()
    return redactor.text(cell)


def _bytes(redactor: Redactor, data: bytes) -> bytes:
    """JSON as JSON; of anything else nothing is left that could be taken apart."""
    if not holds_body(redactor, data):
        return data
    try:
        return orjson.dumps(redactor.json(orjson.loads(data)))
    except orjson.JSONDecodeError:
        return b""


def _aside(redactor: Redactor, record: str) -> str:
    """A row that a database refused, as JSON."""
    try:
        value = orjson.loads(record)
    except orjson.JSONDecodeError:
        return record
    kept = _without_bodies(redactor, value)
    return record if kept is value else orjson.dumps(kept).decode()


def _without_bodies(redactor: Redactor, value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """A row that was set aside may hold a whole body, in hexadecimal or base64."""
    if isinstance(value, list):  # a record that is a tuple is an array there
        items = [_without_bodies(redactor, item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if isinstance(value, dict):
        pairs = {name: _without_bodies(redactor, item) for name, item in value.items()}
        return pairs if any(pairs[name] is not value[name] for name in value) else value
    if isinstance(value, str) and any(holds_body(redactor, data) for data in _decoded(value)):
        return ""
    return value


def _decoded(text: str) -> list[bytes]:
    found = []
    for decode in (bytes.fromhex, lambda written: b64decode(written, validate=True)):
        try:
            found.append(decode(text))
        except (ValueError, Base64Error):
            continue
    return found
