"""Forms, urlencoded and multipart, under right and wrong content types."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.bodies import Fields
from processors.forms import FORM_FIELDS_MAX, read_form_or_json
from schemas.event import Rejected
from schemas.rejections import RejectReason

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=cut"


def _read(body: bytes, content_type: str = FORM) -> tuple[Fields, tuple[str, ...]]:
    found = read_form_or_json(body, content_type)
    assert not isinstance(found, Rejected), found
    return found


def _reason(body: bytes, content_type: str = FORM) -> RejectReason:
    found = read_form_or_json(body, content_type)
    assert isinstance(found, Rejected), found
    return found.reason


def _part(name: str, value: bytes, *more: str) -> bytes:
    headers = [f'Content-Disposition: form-data; name="{name}"', *more]
    return b"--cut\r\n" + "\r\n".join(headers).encode() + b"\r\n\r\n" + value + b"\r\n"


def _multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--cut--\r\n"


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (b"id=1&event=sent", {"id": "1", "event": "sent"}),
        (b"a=one+two%20three&b=%C3%B1&c=1%2B1", {"a": "one two three", "b": "ñ", "c": "1+1"}),
        (b"a=&b", {"a": "", "b": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=100%&b=%zz", {"a": "100%", "b": "%zz"}),
        (b"&&a=1&&", {"a": "1"}),
        (b"a=1\r\n", {"a": "1"}),
        (b"a=x%00y", {"a": "x\0y"}),
        (b"a=1&a=1", {"a": "1"}),
        (b"a%5Bb%5D=1", {"a[b]": "1"}),
    ],
)
def test_a_form_is_read(body: bytes, meant: dict[str, str]) -> None:
    assert _read(body) == (meant, ())


def test_s17_a_form_with_a_charset_and_json_inside_a_field_is_read() -> None:
    body = b"event=form_submitted&extra=%7B%22formValues%22%3A%7B%22a%22%3A%22%C3%B1%22%7D%7D"

    assert _read(body, FORM + "; charset=UTF-8") == (
        {"event": "form_submitted", "extra": '{"formValues":{"a":"ñ"}}'},
        (),
    )


@pytest.mark.parametrize(
    ("content_type", "flags"),
    [
        (FORM, ()),
        (FORM.upper() + ' ;charset="utf-8"', ()),
        ("", ()),
        ("text/plain", ()),
        ("application/json", ("content_type_ignored",)),
        ("application/problem+json", ("content_type_ignored",)),
        ("multipart/mixed; boundary", ()),
        (";;=\x00\udcff", ()),
    ],
)
def test_a_form_is_a_form_under_any_content_type(content_type: str, flags: tuple[str, ...]) -> None:
    assert _read(b"id=1&event=sent", content_type) == ({"id": "1", "event": "sent"}, flags)


@pytest.mark.parametrize(
    ("content_type", "flags"),
    [
        ("application/json; charset=utf-8", ()),
        ("", ()),
        (FORM, ("content_type_ignored",)),
        (MULTIPART, ("content_type_ignored",)),
    ],
)
def test_json_is_json_under_any_content_type(content_type: str, flags: tuple[str, ...]) -> None:
    assert _read(b' {"id":"1"}', content_type) == ({"id": "1"}, flags)


@pytest.mark.parametrize(
    ("charset", "value", "meant", "flags"),
    [
        ("utf-8", "ñ".encode(), "ñ", ()),
        ("iso-8859-15", b"\xa4", "€", ()),
        ("Windows-1251", b"\xc6", "Ж", ()),
        ("", b"\xf1", "ñ", ("charset_fallback",)),
        ("", b"\x81", "\x81", ("charset_fallback",)),
        ("utf-8", b"\x80", "€", ("charset_fallback",)),
        ("iso-8859-99", "ñ".encode(), "ñ", ("charset_fallback",)),
        ("unicode_escape", b"\\ud800", "\\ud800", ("charset_unknown",)),
        ("idna", b"xn--a", "xn--a", ("charset_unknown",)),
    ],
)
def test_the_charset_is_honoured_and_its_failures_are_flagged(
    charset: str, value: bytes, meant: str, flags: tuple[str, ...]
) -> None:
    assert _read(b"a=" + value, f"{FORM}; charset={charset}") == ({"a": meant}, flags)


def test_a_multipart_form_is_read() -> None:
    body = _multipart(_part("id", b"1"), _part("extra", b'{"a":\r\n1}'), _part("empty", b""))

    assert _read(body, MULTIPART) == ({"id": "1", "extra": '{"a":\r\n1}', "empty": ""}, ())


def test_a_part_may_have_a_charset_of_its_own() -> None:
    body = _multipart(_part("a", b"\xf1", "Content-Type: text/plain; charset=iso-8859-1"), _part("b", "ñ".encode()))

    assert _read(body, MULTIPART) == ({"a": "ñ", "b": "ñ"}, ())


@pytest.mark.parametrize(
    ("content_type", "flags"),
    [
        ('multipart/form-data; Boundary="cut"', ()),
        ("multipart/form-data", ()),
        ("multipart/form-data; boundary=other", ()),
        ("", ()),
        (FORM, ("content_type_ignored",)),
    ],
)
def test_the_boundary_in_the_body_holds(content_type: str, flags: tuple[str, ...]) -> None:
    assert _read(_multipart(_part("id", b"1")), content_type) == ({"id": "1"}, flags)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"hello", FORM),
        (b"hello", ""),
        (b"&&", FORM),
        (_part("id", b"1"), MULTIPART),
        (_multipart(_part("id", b"1"))[:-6], MULTIPART),
        (b"--cut\r\nno colon\r\n\r\n1\r\n--cut--\r\n", MULTIPART),
        (b"--cut--\r\n", MULTIPART),
        (b"id=1", "multipart/form-data"),
        (b"--" + b"x" * 300 + b"\r\n", MULTIPART),
        (_multipart(_part("id", b"1", "X: " + "y" * 5000)), MULTIPART),
    ],
)
def test_what_is_no_whole_form_is_refused(body: bytes, content_type: str) -> None:
    assert _reason(body, content_type) is RejectReason.INVALID_FORM


@pytest.mark.parametrize("body", [b"id=1&event=sent&event=opened", _multipart(_part("a", b"1"), _part("a", b"2"))])
def test_two_values_for_one_name_are_refused(body: bytes) -> None:
    assert _reason(body, MULTIPART if body.startswith(b"--") else FORM) is RejectReason.DUPLICATE_KEYS


def test_as_many_fields_as_allowed_are_read_and_one_more_is_not() -> None:
    pairs = [f"f{number}=1".encode() for number in range(FORM_FIELDS_MAX + 1)]
    parts = [_part(f"f{number}", b"1") for number in range(FORM_FIELDS_MAX + 1)]

    assert len(_read(b"&".join(pairs[:-1]))[0]) == FORM_FIELDS_MAX
    assert len(_read(_multipart(*parts[:-1]), MULTIPART)[0]) == FORM_FIELDS_MAX
    assert _reason(b"&".join(pairs)) is RejectReason.TOO_MANY_FIELDS
    assert _reason(_multipart(*parts), MULTIPART) is RejectReason.TOO_MANY_FIELDS


@pytest.mark.parametrize("body", [b"", b" \r\n"])
@pytest.mark.parametrize("content_type", [FORM, MULTIPART, "application/json", ""])
def test_an_empty_body_is_empty_under_any_content_type(body: bytes, content_type: str) -> None:
    assert _reason(body, content_type) is RejectReason.EMPTY_BODY


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", b"\x1f\x8b\x08=", b"{", b"[1"])
def test_what_starts_like_json_is_judged_as_json(body: bytes) -> None:
    assert _reason(body, FORM) is RejectReason.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "reason"), [(b"hello", "invalid_json"), (b'"hello"', "not_an_object"), (b"5", "not_an_object")]
)
def test_what_is_called_json_and_is_no_form_is_judged_as_json(body: bytes, reason: str) -> None:
    assert _reason(body, "application/json").value == reason


def test_a_damaged_form_writes_nothing_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        _reason(b"--cut\r\nno colon\r\n\r\nsecret\r\n--cut--\r\n", MULTIPART)

    assert caplog.records == []


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=20), min_size=1, max_size=8))
def test_what_was_encoded_comes_back(fields: dict[str, str]) -> None:
    pieces = [f"{_escaped(name)}={_escaped(value)}" for name, value in fields.items()]

    assert _read("&".join(pieces).encode()) == (fields, ())


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


@given(st.binary(max_size=300), st.sampled_from([FORM, MULTIPART, "", "application/json"]) | st.text(max_size=60))
def test_any_bytes_under_any_content_type_give_texts_or_a_refusal(body: bytes, content_type: str) -> None:
    found = read_form_or_json(body, content_type)

    if isinstance(found, Rejected):
        assert 0 < len(found.detail) <= 200
    else:
        assert "".join((*found[0], *map(str, found[0].values()))).encode() is not None
