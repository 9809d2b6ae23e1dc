"""Read a JSON body: one object of bounded depth in which no name was given two values, or why it is not.

The ordinary postback costs one parse and a few counts. Everything doubtful is read again, slowly,
with the standard library, which shows what the fast parser hides: repeated names and the exact
digits of a number. Refuses to repair anything, and no sentence of it quotes the body.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple, NoReturn, cast

import orjson

from schemas.event import Rejected
from schemas.rejections import RejectReason

Fields = dict[str, object]

#: No postback nests deeper than three; the bound keeps every later step clear of recursion limits.
DEPTH_MAX: Final = 64

_COLON: Final = 58  # integers: `in` and `count` are faster with them than with bytes
_BACKSLASH: Final = 92
_OPEN_LIST: Final = 91

_BOM: Final = b"\xef\xbb\xbf"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_CURLY_QUOTES: Final = re.compile("[\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}]")
FORM_START: Final = re.compile(rb"\s*[\w.\-\[\]%]{1,64}=")
#: A name is only shown when it cannot be anything but a field's name: an address could be a key, too.
_SHOWABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,39}")
_KINDS: Final[dict[type[object], str]] = {
    list: "an array",
    dict: "an object",
    str: "a text",
    bool: "true or false",
    type(None): "null",
}


class NumberText(NamedTuple):
    """A JSON number as it was written: `1.0`, `1e2` and 30 digits keep their text."""

    text: str


class _RepeatedNameError(Exception):
    """A name with two values; its argument is the name."""


class _NotANumberError(Exception):
    """`NaN` or `Infinity`, which JSON does not have."""


def kind_of(value: object) -> str:
    """What a decoded JSON value is, for a sentence: `an array`, `a number`."""
    return _KINDS.get(type(value), "a number")


def read_json(body: bytes) -> Fields | Rejected:
    """The object in `body`. Integers beyond 64 bits and fractions come as floats: see `read_json_exact`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _why_not_json(body, error)
    # One bracket a level: few brackets cannot be deep. Taking them out counts them faster than count().
    if (_OPEN_LIST in body or len(body) - len(body.replace(b"{", b"")) > DEPTH_MAX) and _too_deep(value):
        return _TOO_DEEP
    if type(value) is not dict:
        return Rejected(RejectReason.NOT_AN_OBJECT, f"The body is {kind_of(value)}; one postback is one object.")
    # A repeated name is dropped by the parser, and with it at least one colon. A text that escapes a
    # colon could make up for it, so such bodies are looked at as well. Written back byte for byte
    # the same, as senders that leave no blanks are, nothing can be missing.
    again = orjson.dumps(value)
    if again != body and (again.count(_COLON) != body.count(_COLON) or (_BACKSLASH in body and b"\\u003" in body)):
        return _disagreement(body) or value
    return value


def read_json_exact(body: bytes) -> Fields:
    """What `read_json` read, with every number as a `NumberText`. Only for bodies `read_json` took."""
    return cast(Fields, json.loads(body, parse_int=NumberText, parse_float=NumberText))


EMPTY: Final = Rejected(RejectReason.EMPTY_BODY, "The body is empty, or only white space.")
_TOO_DEEP: Final = Rejected(RejectReason.TOO_DEEP, f"The JSON is nested deeper than {DEPTH_MAX} levels.")


def _too_deep(value: object) -> bool:
    """Level by level, without recursion."""
    level, depth = [value], 0
    while level := [item for item in level if type(item) is dict or type(item) is list]:
        depth += 1
        if depth > DEPTH_MAX:
            return True
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else cast(list[object], item))
        ]
    return False


def _disagreement(body: bytes) -> Rejected | None:
    """Whether a name has two values that differ, numbers compared as written. Equal repeats are harmless."""
    try:
        json.loads(body, parse_int=NumberText, parse_float=NumberText, object_pairs_hook=_agreeing)
    except _RepeatedNameError as error:
        return repeated_name(str(error))
    return None


def repeated_name(name: str) -> Rejected:
    """The refusal of a body that gives `name` two values."""
    shown = f"The name '{name}'" if _SHOWABLE.fullmatch(name) else "A name"
    return Rejected(RejectReason.DUPLICATE_KEYS, f"{shown} occurs twice with different values.")


def _agreeing(pairs: list[tuple[str, object]]) -> Fields:
    found: Fields = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise _RepeatedNameError(name)
        found[name] = value
    return found


def _why_not_json(body: bytes, error: orjson.JSONDecodeError) -> Rejected:
    """The fault in words a person can act on; the parser's own words would be about states of a parser."""
    if not body.strip():
        return EMPTY
    if "depth limit" in error.msg:
        return _TOO_DEEP
    return Rejected(RejectReason.INVALID_JSON, _fault(body, error))


def _fault(body: bytes, error: orjson.JSONDecodeError) -> str:
    where = f"line {error.lineno}, column {error.colno}"
    if body.startswith(_BOM):
        return "The body starts with a byte order mark (BOM), which JSON does not allow."
    if body.startswith(_GZIP_MAGIC):
        return "The body looks like gzip, but the request has no Content-Encoding."
    try:
        text = body.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8 text: byte {wrong.start + 1} of {len(body)} does not fit."
    if _CURLY_QUOTES.search(text):
        return f"The body is not JSON ({where}); it has curly quotation marks, as in text copied from a page."
    if FORM_START.match(body):
        return "The body is not JSON; it looks like a form (name=value)."
    return _subtle_fault(text) or f"The body is not JSON: {where} cannot be read."


def _subtle_fault(text: str) -> str | None:
    """Faults that a lenient parser lets pass: not a number, lone surrogates, numbers beyond any float."""
    try:
        value: object = json.loads(text, parse_int=NumberText, parse_constant=_refuse_constant)
    except _NotANumberError:
        return "The body has NaN or Infinity where a value should be; JSON has neither."
    except (ValueError, RecursionError):
        return None
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "A text of the body has half of a surrogate pair (\\uD800 to \\uDFFF), which is no character."
    except RecursionError:
        return None
    return "The body has a number too large for a 64-bit float."


def _refuse_constant(_: str) -> NoReturn:
    raise _NotANumberError
