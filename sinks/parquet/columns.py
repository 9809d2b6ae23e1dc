"""Text as the databases hand it out in bulk, as columns of Arrow's types. Pure.

SQLite gives a JSON object a line, Postgres CSV: both are parsed outside of Python, so that a row costs no objects.
What is JSON or hexadecimal in a column is taken apart here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json

from sinks.parquet.datasets import FACT, LAYOUTS, SAMPLE, Dataset, Kind

_AS_TEXT: Final = {Kind.FACTS, Kind.SAMPLES, Kind.BYTES}
#: In SQLite a fact is an array in this order, in Postgres an object.
_NAMES: Final = {Kind.FACTS: FACT.names, Kind.SAMPLES: SAMPLE.names}
_STRUCTS: Final = {Kind.FACTS: FACT, Kind.SAMPLES: SAMPLE}


def of_json_lines(dataset: Dataset, lines: Sequence[str]) -> pa.Table:
    """Rows as JSON objects, a column's key its number among the dataset's; truths are 0 and 1."""
    data = "\n".join(lines).encode()
    kinds = [(name, pa.int64() if kind is Kind.TRUTH else _raw_type(dataset, name)) for name, kind in _columns(dataset)]
    wanted = pa.schema([(str(number), kind) for number, (_, kind) in enumerate(kinds)])
    raw = pyarrow.json.read_json(
        pa.py_buffer(data),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="error"),
    )
    return _finished(dataset, raw.rename_columns(list(dataset.columns)))


def of_csv(dataset: Dataset, parts: Iterable[bytes]) -> pa.Table:
    """Rows as Postgres' COPY writes them: nothing is NULL, `""` an empty text, truths `t` and `f`."""
    data = b"".join(parts)
    return _finished(
        dataset,
        pyarrow.csv.read_csv(
            pa.py_buffer(data),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(dataset.columns), use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: _raw_type(dataset, name) for name in dataset.columns},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        ),
    )


def _columns(dataset: Dataset) -> Iterable[tuple[str, Kind]]:
    return dataset.columns.items()


def _raw_type(dataset: Dataset, name: str) -> pa.DataType:
    return pa.string() if dataset.columns[name] in _AS_TEXT else LAYOUTS[dataset.name].read.field(name).type


def _finished(dataset: Dataset, raw: pa.Table) -> pa.Table:
    schema = LAYOUTS[dataset.name].read
    columns = []
    for name, kind in _columns(dataset):
        column = raw.column(name)
        if kind in _STRUCTS:
            column = _structs(kind, column.to_pylist())
        elif kind is Kind.BYTES:
            column = pa.array([text and bytes.fromhex(text) for text in column.to_pylist()], pa.binary())
        elif kind is Kind.TRUTH:
            column = column.cast(pa.bool_())
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _structs(kind: Kind, texts: Sequence[str]) -> pa.ListArray:
    """A column of lists, made column by column of all their elements."""
    struct, names = _STRUCTS[kind], _NAMES[kind]
    values: Callable[[Any], tuple[object, ...]] = itemgetter(*names)
    lists: list[list[Any]] = [orjson.loads(text) for text in texts]
    elements = [element if isinstance(element, list) else values(element) for one in lists for element in one]
    columns = list(zip(*elements, strict=True)) if elements else [()] * len(names)
    arrays = [
        pa.array(column, pa.string()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for column, field in zip(columns, struct, strict=True)
    ]
    offsets = pa.array([0, *_running(len(one) for one in lists)], pa.int32())
    return cast(
        pa.ListArray, pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, fields=list(struct)))
    )


def _running(lengths: Iterable[int]) -> Iterable[int]:
    total = 0
    for length in lengths:
        total += length
        yield total


def last_of(table: pa.Table, column: str) -> int:
    """The greatest number of a column without nulls."""
    return cast(int, pc.max(table.column(column)).as_py())
