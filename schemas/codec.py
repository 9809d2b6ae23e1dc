"""Records to JSON and back: compact, UTF-8, checked on the way in.

Writing does not check: a record is built by one function of ours and the tests hold that function
to the schema. Reading checks everything, unknown fields included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

RecordT = TypeVar("RecordT")


class RecordError(ValueError):
    """Bytes that are not the record they should be; the text names the record and the first fault."""


_adapters: dict[type[object], TypeAdapter[Any]] = {}


def _adapter(record: type[Any]) -> TypeAdapter[Any]:
    """One adapter a record class: building it costs milliseconds, using it microseconds."""
    adapter = _adapters.get(record)
    if adapter is None:
        adapter = _adapters[record] = TypeAdapter(record)
    return adapter


def encode(record: Mapping[str, object]) -> bytes:
    """Compact JSON. Texts that UTF-8 cannot hold (lone surrogates) raise `RecordError`; none are let in."""
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError as error:
        raise RecordError(f"cannot write record as JSON: {error}") from error


def decode(record: type[RecordT], value: bytes) -> RecordT:
    """Read and check one record. Raises `RecordError`."""
    return check(record, _loads(value, record))


def check(record: type[RecordT], value: object) -> RecordT:
    """Hold a decoded value to its record class. Raises `RecordError`."""
    try:
        return cast(RecordT, _adapter(record).validate_python(value))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the record"
        raise RecordError(f"{record.__name__}: {where}: {first['msg']}") from error


def json_schema(record: type[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record class."""
    return _adapter(record).json_schema(mode="serialization")


def _loads(value: bytes, record: type[object]) -> object:
    try:
        return cast(object, orjson.loads(value))
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{record.__name__}: not JSON: {error}") from error
