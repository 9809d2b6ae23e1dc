"""Whatever stands around it, no text that holds an erased recipient survives, and nothing else changes."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from schemas.personal import Digests, values_of
from sinks.personal.redactor import MARK, Redactor

DIGESTS: Final = Digests("a secret of thirty-two characters")
_LOCAL: Final = st.from_regex(r"[a-z0-9](?:[a-z0-9._+'-]{0,12}[a-z0-9])?", fullmatch=True)
_DOMAIN: Final = st.from_regex(r"(?:[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?\.){1,3}[a-z]{2,6}", fullmatch=True)
ADDRESSES: Final = st.builds(lambda local, domain: f"{local}@{domain}", _LOCAL, _DOMAIN)
NUMBERS: Final = st.from_regex(r"[1-9][0-9]{8,14}", fullmatch=True)
_PARTS: Final = st.sampled_from(
    [" ", "<", ">", ": ", "; ", '"', "\n", " 550 5.1.1 ", "user ", " not found", "%3C", "(", ")"]
)
AROUND: Final = st.lists(_PARTS, max_size=6).map("".join)


def redactor(*recipients: str) -> Redactor:
    """One that holds these to be erased."""
    values = [value for recipient in recipients for value in values_of(recipient)]
    return Redactor(DIGESTS, [DIGESTS.erased(value, "2026-01-01T00:00:00.000Z") for value in values])


@given(ADDRESSES, AROUND, AROUND, st.data())
def test_an_address_goes_and_what_is_around_it_stays(
    address: str, before: str, after: str, data: st.DataObject
) -> None:
    written = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in address)
    text = (
        f"{before}{' ' if before and before[-1].isalnum() else ''}{written}{' ' if after[:1].isalnum() else ''}{after}"
    )

    assert redactor(address).text(text) == text.replace(written, MARK)


@given(ADDRESSES, ADDRESSES)
def test_another_address_stays(address: str, other: str) -> None:
    text = f"<{other}> 550 5.1.1"
    same = other == address or other.startswith(f"{address}.")  # a sentence may go on behind the dot

    assert (redactor(address).text(text) == text) is not same


@given(ADDRESSES, st.text(max_size=200))
def test_a_text_without_it_is_the_same_object(address: str, text: str) -> None:
    held = redactor(address)

    if address not in text.lower():
        assert held.text(text) is text
        assert held.json({"reason": text, "list": [text, 1, None]}) == {"reason": text, "list": [text, 1, None]}


@given(ADDRESSES, st.lists(AROUND, min_size=2, max_size=4))
def test_every_place_in_json_is_found(address: str, around: list[str]) -> None:
    value = {"facts": [[f"{part} <{address}> {part}" for part in around], {"reason": address, address: 1}]}

    assert address not in str(redactor(address).json(value))


@given(NUMBERS, st.lists(st.integers(min_value=1, max_value=5), max_size=4), st.sampled_from(["+", "00", ""]))
def test_a_number_is_found_however_it_is_grouped(number: str, cuts: list[int], head: str) -> None:
    written, at = head, 0
    for cut in cuts:
        written, at = f"{written}{number[at : at + cut]} ", at + cut
    written = f"{written}{number[at:]}".rstrip()

    assert redactor(f"+{number}").text(f"to <{written}>: refused") == f"to <{MARK}>: refused"


@given(NUMBERS, NUMBERS)
def test_another_number_stays(number: str, other: str) -> None:
    text = f"to {other}: refused"

    assert (redactor(f"+{number}").text(text) == text) is (number != other.removeprefix("00"))
