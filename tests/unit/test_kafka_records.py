"""A postback survives the raw topic, and a record that is not ours says what it lacks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import RecordError
from schemas.kafka_records import headers_of, postback_of
from schemas.postback import KIND_POSTBACK, Postback

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
postbacks = st.builds(
    Postback, texts, texts, st.just(KIND_POSTBACK), texts, st.integers(0, 2**42), texts, texts, st.binary(max_size=50)
)


@given(postbacks)
def test_there_and_back(postback: Postback) -> None:
    assert postback_of(headers_of(postback), postback.body) == postback


@given(postbacks, st.randoms())
def test_the_order_of_the_headers_is_nobodys_business(postback: Postback, rng: random.Random) -> None:
    headers = headers_of(postback)
    rng.shuffle(headers)

    assert postback_of(headers, postback.body) == postback


@given(postbacks)
def test_a_header_of_a_newer_gateway_is_no_trouble(postback: Postback) -> None:
    headers = [*headers_of(postback), ("region", b"eu")]

    assert postback_of(headers, postback.body) == postback


@pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type", "provider", "received_ms", "content-type"])
def test_a_record_that_is_not_ours_says_what_it_lacks(name: str) -> None:
    told = Postback("shop", "braze", KIND_POSTBACK, "r", 1, "", "", b"{}")
    headers = [(other, value) for other, value in headers_of(told) if other != name]

    with pytest.raises(RecordError, match=f"the header {name} is missing"):
        postback_of(headers, b"{}")


@pytest.mark.parametrize(
    ("name", "value"), [("received_ms", b"soon"), ("received_ms", None), ("ce_source", b"\xff"), ("ce_source", None)]
)
def test_a_header_of_the_wrong_kind_is_named_as_such(name: str, value: bytes) -> None:
    told = Postback("shop", "braze", KIND_POSTBACK, "r", 1, "", "", b"{}")
    headers = [(other, value if other == name else right) for other, right in headers_of(told)]

    with pytest.raises(RecordError, match="a header is not what it should be"):
        postback_of(headers, b"{}")
