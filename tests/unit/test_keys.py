"""The gateway routes a postback exactly where the processor will look for it, or it is one nobody understands."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.keys import KeyFinder
from processors.normalize import Normalizer
from schemas.event import Rejected
from schemas.identity import message_key
from schemas.postback import KIND_POSTBACK, Postback
from tests.unit.test_provider_samples import IDS, SAMPLES, postback_of

NORMALIZE = Normalizer(Classifier.load(None))
KEY_OF = KeyFinder(NORMALIZE)


def braze(body: bytes, encoding: str = "") -> Postback:
    return Postback("shop", "braze", KIND_POSTBACK, "r", 1_598_918_400_000, "application/json", encoding, body)


def key_of_the_processor(postback: Postback) -> str | None:
    event = NORMALIZE(postback)
    if isinstance(event, Rejected):
        return None
    return message_key(postback.source, event.dispatch_id, event.external_send_id, event.scope)


@pytest.mark.parametrize(("provider", "sample"), SAMPLES, ids=IDS)
def test_every_sample_goes_where_its_message_is(provider: str, sample: dict[str, object]) -> None:
    postback = postback_of(provider, sample)
    expected = key_of_the_processor(postback)

    assert expected is None or KEY_OF(postback) == expected


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just([]), st.just({}))


@given(
    st.fixed_dictionaries(
        {},
        optional={"dispatch_id": values, "status": values, "metadata": st.dictionaries(st.text(max_size=3), values)},
    ),
    values,
)
def test_whatever_the_body_says_both_agree(fields: dict[str, object], external_send_id: object) -> None:
    metadata = fields.get("metadata")
    if isinstance(metadata, dict):
        metadata["external_send_id"] = external_send_id
    postback = braze(json.dumps(fields).encode())
    expected = key_of_the_processor(postback)

    assert expected is None or KEY_OF(postback) == expected


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    KEY_OF(braze(body))
    KEY_OF(braze(body, "gzip"))


def test_a_compressed_body_goes_with_the_plain_one() -> None:
    plain = b'{"dispatch_id": "d1", "status": "sent"}'

    assert KEY_OF(braze(gzip.compress(plain), "gzip")) == KEY_OF(braze(plain)) == "shop/d1"


def test_a_body_nobody_understands_has_no_key() -> None:
    assert KEY_OF(braze(b"{")) is None
