"""JSON bodies: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import math
from typing import Never

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.bodies import DEPTH_MAX, NumberText, read_json, read_json_exact
from schemas.event import Rejected
from schemas.rejections import RejectReason


def _refused(body: bytes) -> Rejected:
    found = read_json(body)
    assert isinstance(found, Rejected), found
    return found


def _nested(levels: int, *, opening: str = '{"a":', closing: str = "}") -> bytes:
    """An object of so many levels; the outermost is always an object."""
    return ('{"a":' + opening * (levels - 1) + "1" + closing * (levels - 1) + "}").encode()


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_an_empty_body_is_said_to_be_empty(body: bytes) -> None:
    assert _refused(body).reason is RejectReason.EMPTY_BODY


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":', "line 1, column 6"),
        (b'{"a":1}\n// Sent Event', "line 2, column 1"),
        (b'{"a":1,}', "line 1, column 7"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a":NaN}', "NaN or Infinity"),
        (b'{"a":-Infinity}', "NaN or Infinity"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"\\ud800":1}', "surrogate"),
        (b'{"a":1e400}', "too large"),
        (b'{"a":"\xff"}', "not UTF-8 text: byte 7 of 9"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        ("{“a”: “b”}".encode(), "curly quotation marks"),
        (b"status=sent&id=1", "looks like a form"),
        (b'{"a":"\x00"}', "line 1, column 7"),
        (b'{"a":1}\x00', "line 1, column 8"),
    ],
)
def test_what_is_not_json_is_told_apart(body: bytes, words: str) -> None:
    found = _refused(body)

    assert found.reason is RejectReason.INVALID_JSON
    assert words in found.detail


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "an array"),
        (b'[{"a":1}]', "an array"),
        (b"null", "null"),
        (b"true", "true or false"),
        (b'"text"', "a text"),
        (b"1.5", "a number"),
    ],
)
def test_arrays_and_bare_values_are_not_objects(body: bytes, words: str) -> None:
    found = _refused(body)

    assert found.reason is RejectReason.NOT_AN_OBJECT
    assert words in found.detail


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_the_deepest_nesting_allowed_is_read_and_one_level_more_is_not(opening: str, closing: str) -> None:
    assert isinstance(read_json(_nested(DEPTH_MAX, opening=opening, closing=closing)), dict)
    assert _refused(_nested(DEPTH_MAX + 1, opening=opening, closing=closing)).reason is RejectReason.TOO_DEEP


@pytest.mark.parametrize("levels", [300, 1_000, 2_000, 100_000])
def test_absurd_nesting_is_refused_without_recursion(levels: int) -> None:
    assert _refused(_nested(levels)).reason is RejectReason.TOO_DEEP
    assert _refused(b"[" * levels + b"]" * levels).reason is RejectReason.TOO_DEEP


def test_broken_json_with_absurd_nesting_after_the_fault_is_refused() -> None:
    assert _refused(b'{"a":NaN,"b":' + b"[" * 100_000).reason is RejectReason.INVALID_JSON


def test_many_brackets_side_by_side_are_not_deep() -> None:
    body = orjson.dumps({"a": [{} for _ in range(1000)]})

    assert isinstance(read_json(body), dict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"sent","status":"bounced"}',
        b'{"status":"sent", "\\u0073tatus":"bounced"}',
        b'{"m":{"status":1,"status":1.0}}',
        b'{"m":[{"status":1,"status":"1"}]}',
        b'{"status":{"x":1},"status":{"x":2}}',
        b'{"status":"a","status":"\\u003a"}',
        b'{"status":"x","status":"\\u003A","status":"y"}',
    ],
)
def test_a_name_with_two_values_is_refused_and_named(body: bytes) -> None:
    found = _refused(body)

    assert found.reason is RejectReason.DUPLICATE_KEYS
    assert "'status'" in found.detail


def test_a_name_that_could_be_an_address_is_not_repeated_in_the_detail() -> None:
    assert _refused(b'{"ana@example.org":1,"ana@example.org":2}').detail == "A name occurs twice with different values."


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (b'{"a":1,"a":1}', {"a": 1}),
        (b'{"a":{"b":"x"}, "a":{"b":"x"}}', {"a": {"b": "x"}}),
        (b'{"a":"\\u003a"}', {"a": ":"}),
        (b'{"a":"one:two", "b":"\\\\u003a"}', {"a": "one:two", "b": "\\u003a"}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
    ],
)
def test_equal_repeats_escapes_and_nul_are_read(body: bytes, meant: object) -> None:
    assert read_json(body) == meant


def test_the_exact_reading_keeps_the_writing_of_numbers() -> None:
    body = b'{"a":1.0,"b":12345678901234567890123,"c":-0,"d":[1E+2],"e":"1"}'

    assert read_json_exact(body) == {
        "a": NumberText("1.0"),
        "b": NumberText("12345678901234567890123"),
        "c": NumberText("-0"),
        "d": [NumberText("1E+2")],
        "e": "1",
    }


def _bad_constant(_: str) -> Never:
    raise ValueError


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuses unequal repeats, and texts UTF-8 cannot hold."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise ValueError
        found[name] = value
    return found


def _reference(body: bytes) -> dict[str, object] | None:
    """What the standard library and the rules of this module make of a body, slowly."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_pairs,
            parse_constant=_bad_constant,
            parse_int=NumberText,
            parse_float=NumberText,
        )
        json.dumps(value, ensure_ascii=False).encode()
        json.dumps(json.loads(body.decode()), allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
_WRITTEN = st.builds(
    lambda value, ascii_only, blanks: json.dumps(
        value, ensure_ascii=ascii_only, separators=(", ", ": ") if blanks else (",", ":")
    ),
    st.dictionaries(st.text(max_size=4), _VALUES, max_size=5),
    st.booleans(),
    st.booleans(),
)
_SPOILT = st.builds(
    lambda text, at, piece: text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) :],
    _WRITTEN,
    st.integers(min_value=0),
    st.sampled_from(
        [
            "",
            '"',
            ":",
            ",",
            "{",
            "}",
            "[",
            "]",
            "\\u003a",
            '"a":1,',
            "1e999",
            "NaN",
            "\\",
            "\0",
            "\ufeff",
            "\\ud800",
            " ",
        ]
    ),
)


@given(_SPOILT)
@example('{"a":"::","\\u0061":"b"}')
@example('{"a":"\\u003a","a":"b"}')
@example('{"a":1e309}')
@example('{"a":-0}')
@example('{"a":"Infinity"}')
def test_what_is_accepted_is_what_the_standard_library_accepts(text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    found, expected = read_json(body), _reference(body)

    assert isinstance(found, dict) == (expected is not None), found
    if isinstance(found, dict):
        assert read_json_exact(body) == expected
        assert _same(found, json.loads(body))


def _same(found: object, expected: object) -> bool:
    """Equal, floats included; orjson makes floats of integers beyond 64 bits."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_same(found[name], expected[name]) for name in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return math.isclose(found, float(expected))
    return type(found) is type(expected) and found == expected


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_a_short_refusal(body: bytes) -> None:
    found = read_json(body)

    assert isinstance(found, dict) or 0 < len(found.detail) <= 200
