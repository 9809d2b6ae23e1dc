"""What makes two writings of one recipient equal, which fields hold one, and whether a body does."""

from __future__ import annotations

import gzip
import json
from typing import Final

import pytest

from processors.personal import MOST_VALUES, Seal, personal_of
from schemas.personal import MOST_VALUE_CHARS, NAMES, Digests, Value, value_of, values_of
from sinks.personal.bodies import holds_body
from sinks.personal.redactor import MARK, Redactor

DIGESTS: Final = Digests("a secret of thirty-two characters")
NOW: Final = "2026-01-01T00:00:00.000Z"


def redactor(*recipients: str) -> Redactor:
    return Redactor(DIGESTS, [DIGESTS.erased(value, NOW) for one in recipients for value in values_of(one)])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (" Ann@Mail.Example ", [Value("address", "ann@mail.example")]),
        ("Ann Example <Ann@Mail.Example>", [Value("address", "ann@mail.example")]),
        ("o'brien+x@mail.example", [Value("address", "o'brien+x@mail.example")]),
        ("+34 600 123 456", [Value("phone", "34600123456")]),
        ("0034-600-123-456", [Value("phone", "34600123456")]),
        ("34600123456", [Value("phone", "34600123456"), Value("identifier", "34600123456")]),
        ("8842", [Value("identifier", "8842")]),
        ("user-7", [Value("identifier", "user-7")]),
    ],
)
def test_a_recipient_is_compared_in_one_form(text: str, values: list[Value]) -> None:
    assert values_of(text) == values


def test_a_contact_number_is_no_telephone_number() -> None:
    assert value_of("contact", "34600123456") == Value("identifier", "34600123456")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"to": "a@b.example"}, (("recipient", "a@b.example"),)),
        ({"to": ["a@b.example", "c@d.example", 7]}, 3),
        ({"recipient": {"email": "a@b.example", "nested": {"deeper": 1}}}, (("recipient", "a@b.example"),)),
        ({"contactId": 0}, ()),
        ({"contactId": 8842, "contact_id": "8842"}, (("contact", "8842"),)),
        ({"ip": None, "email": "", "phone": True, "mail": 1.5}, ()),
        ({"to": [str(number) * 9 for number in range(1, 99)]}, MOST_VALUES),
        ({"user_agent": "x" * 9_999}, (("user_agent", "x" * MOST_VALUE_CHARS),)),
        ({"status": "sent", "too": "x"}, ()),
    ],
)
def test_personal_fields_are_found(fields: dict[str, object], found: object) -> None:
    values = personal_of(NAMES, fields)

    assert (len(values) if isinstance(found, int) else values) == found


def test_a_seal_gives_the_same_every_time_and_opens_with_its_key_alone() -> None:
    seal, other = Seal("a" * 32, encrypted=True), Seal("b" * 32, encrypted=True)
    row = seal("m", "recipient", "Ann@Mail.Example")

    assert row == Seal("a" * 32, encrypted=True)("m", "recipient", "Ann@Mail.Example")
    assert seal.opened(row) == "Ann@Mail.Example"
    assert row.digest == Digests("a" * 32).of(Value("address", "ann@mail.example"))
    assert row.digest != other("m", "recipient", "Ann@Mail.Example").digest
    assert Seal("a" * 32, encrypted=False)("m", "recipient", "Ann@Mail.Example") == row._replace(sealed=None)


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 <ann@mail.example>: gone",
        "rcpt=ANN@mail.example",
        "bounces-ann=mail.example@mx.example",
        "ann%40mail.example",
        "%3Cann@mail.example%3E",
        "…ann@mail.example.",
        "ann@mail.example.Please ask",
        "x;ann@mail.example;y",
        "(ann@mail.example)",
    ],
)
def test_an_address_is_found_however_it_is_put(text: str) -> None:
    held = redactor("ann@mail.example").text(text)

    assert MARK in held
    assert "ann" not in held.lower()


@pytest.mark.parametrize(
    "text", ["joann@mail.example", "jo.ann@mail.example", "jo+ann@mail.example", "ann@mail.examples", "ann@mail"]
)
def test_somebody_else_stays(text: str) -> None:
    assert redactor("ann@mail.example").text(text) is text


@pytest.mark.parametrize(
    ("recipient", "text", "found"),
    [
        ("71000017", "contact 71000017: unknown", True),
        ("71000017", "contact 710000171: unknown", False),
        ("550", "550 5.1.1 no", False),
        ("+34600123456", "SMS to +34 600-123-456 failed", True),
        ("+34600123456", "SMS to 346001234567 failed", False),
        ("+34600123456", "at 2026-11-21 20:16, 600123456", False),
    ],
)
def test_numbers_and_identifiers_are_whole_ones(recipient: str, text: str, found: bool) -> None:  # noqa: FBT001  a table's column
    assert redactor(recipient).holds(text) is found


BODIES: Final = [
    (b'{"to": "Ann@mail.example"}', "ann@mail.example", True),
    (b'{"to": "\\u0061nn\\u0040mail.example"}', "ann@mail.example", True),
    (b'{"a": "line\\nann@mail.example"', "ann@mail.example", True),
    (b"a=1&to=ann%40mail.example", "ann@mail.example", True),
    (gzip.compress(b"to=ann@mail.example"), "ann@mail.example", True),
    (b"\x1f\x8bto=ann@mail.example", "ann@mail.example", True),
    (b"to=joann%40mail.example", "ann@mail.example", False),
    (b"id=1&contactId=12&campaignId=7", "12", True),
    (b"id=1&contactId=7&campaignId=12", "12", False),
    (b'{"contactId": 12}', "12", True),
    (b'{"contactId": "12"}', "12", True),
    (b'{"contactId": 123}', "12", False),
    (b'--x\r\nContent-Disposition: form-data; name="contactId"\r\n\r\n12\r\n--x--', "12", True),
    (b"phone=%2B34+600+123+456", "+34600123456", True),
    (b"", "ann@mail.example", False),
    (b"\xff\xfe\x00", "ann@mail.example", False),
]


@pytest.mark.parametrize(("body", "recipient", "found"), BODIES)
def test_a_body_holds_a_recipient(body: bytes, recipient: str, found: bool) -> None:  # noqa: FBT001  a table's column
    assert holds_body(redactor(recipient), body) is found


def test_nothing_is_held_to_an_empty_list() -> None:
    empty = Redactor(DIGESTS, [])

    assert not empty
    assert not holds_body(empty, json.dumps(dict.fromkeys(NAMES, "x")).encode())


def test_values_are_not_found_by_json_names_alone() -> None:
    assert redactor("ann@mail.example").json({"ann@mail.example": {"b": ["ann@mail.example"]}}) == {MARK: {"b": [MARK]}}
