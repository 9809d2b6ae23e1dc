"""Takes a recipient out of the rows of one Parquet file: what `sinks.parquet.rewrite` is given to do that."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from sinks.personal.batches import ERASED_DETAIL
from sinks.personal.bodies import holds_body
from sinks.personal.cells import is_looked_at
from sinks.personal.redactor import Redactor

#: What a file of dead letters has and no other: the body itself, and what was wrong with it.
_BODY: Final = "body"
_DETAIL: Final = "detail"


class Eraser:
    """Call it with the rows of a file. `files` counts those that held the recipient; without `apply` none changes."""

    def __init__(self, redactor: Redactor, *, apply: bool) -> None:
        self._redactor = redactor
        self._apply = apply
        self.files = 0

    def __call__(self, table: pa.Table) -> pa.Table:
        """The rows as they are to be, the very table where the recipient is not in them."""
        kept = self._without_bodies(table)
        for place, field in enumerate(kept.schema):
            if is_looked_at(field.name) and _holds_texts(field.type):
                values = kept.column(place).to_pylist()
                new = [self._redactor.json(value) for value in values]
                if any(one is not old for one, old in zip(new, values, strict=True)):
                    kept = kept.set_column(place, field, pa.array(new, field.type))
        self.files += kept is not table
        return kept if self._apply else table

    def _without_bodies(self, table: pa.Table) -> pa.Table:
        if _BODY not in table.column_names:
            return table
        bodies: list[Any] = table.column(_BODY).to_pylist()
        theirs = [body is not None and holds_body(self._redactor, body) for body in bodies]
        if not any(theirs):
            return table
        for name, instead in ((_BODY, b""), (_DETAIL, ERASED_DETAIL)):
            place = table.schema.get_field_index(name)
            values = [
                instead if erased else value
                for value, erased in zip(table.column(place).to_pylist(), theirs, strict=True)
            ]
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array(values, field.type))
        return table


def _holds_texts(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _holds_texts(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_texts(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _holds_texts(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
