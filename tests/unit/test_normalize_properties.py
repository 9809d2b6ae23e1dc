"""Whatever a sender can send, normalizing returns, and what it returns can be stored and shown."""

from __future__ import annotations

import gzip
import json
from typing import Final
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event, Rejected
from schemas.identity import fact_id, message_id
from schemas.postback import KIND_POSTBACK, Postback
from schemas.statuses import STATUS
from schemas.times import epoch_ms, iso_ms

NAMES: Final = (
    *("dispatch_id", "status", "metadata", "external_send_id", "campaign_api_id", "reason", "sent_at", "received_at"),
    *("delivered_at", "enqueued_at", "id", "event", "channel", "contactId", "campaignId", "formId", "extra"),
    *("smtpResponse", "events", "users", "message", "recipient"),
)
WORDS: Final = (
    *("sent", "Delivered", "bounced", "aborted", "processed", "opened", "clicked", "soft_bounced", "form_submitted"),
    *("2020-08-31T18:58:41.000+00:00", "2020-08-31", "0", "", " ", "mailing", "550 5.1.1 no", '{"formValues":{}}'),
)
CONTENT_TYPES: Final = (
    *("", "application/json", "application/x-www-form-urlencoded; charset=utf-16", "text/plain; charset=x"),
    *("multipart/form-data", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"),
)
ENCODINGS: Final = ("", "", "", "gzip", "deflate", "identity", "br", "gzip, gzip")

_leaf = st.sampled_from(WORDS) | st.text(max_size=12) | st.none() | st.booleans() | st.integers() | st.floats()
_name = st.sampled_from(NAMES) | st.text(max_size=6)
_value = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_name, inner, max_size=5), max_leaves=10
)
_object = st.dictionaries(_name, _value, max_size=8)
_json = st.builds(
    lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace"),
    _object,
    st.booleans(),
)
_form = st.dictionaries(_name, st.sampled_from(WORDS) | st.text(max_size=12), max_size=8).map(
    lambda fields: urlencode({name: value.encode("utf-8", "replace") for name, value in fields.items()}).encode()
)
_multipart = st.dictionaries(
    st.sampled_from(NAMES), st.binary(max_size=12) | st.sampled_from(WORDS).map(str.encode)
).map(
    lambda fields: (
        b"".join(
            b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + value + b"\r\n"
            for name, value in fields.items()
        )
        + b"--b--\r\n"
    )
)
_body = _json | _form | _multipart | st.binary(max_size=80) | _json.map(gzip.compress)
_postbacks = st.builds(
    Postback,
    st.just("source"),
    st.sampled_from(["braze", "nrs360", "nobody"]),
    st.just(KIND_POSTBACK),
    st.just("receipt"),
    st.integers(min_value=0, max_value=4_000_000_000_000),
    st.sampled_from(CONTENT_TYPES) | st.text(max_size=40),
    st.sampled_from(ENCODINGS) | st.text(max_size=10),
    _body,
)

normalize = Normalizer(Classifier.load(None))


@settings(max_examples=400)
@given(_postbacks)
def test_every_postback_gives_a_sound_event_or_a_sound_refusal(postback: Postback) -> None:
    found = normalize(postback)

    if isinstance(found, Rejected):
        assert 0 < len(found.detail) <= 200
        assert "\n" not in found.detail
    else:
        _assert_sound(found)


def _assert_sound(event: Event) -> None:
    texts = [value for value in (*event, *event.identifiers, *event.flags) if isinstance(value, str)]
    for text in texts:
        text.encode()
    assert all(texts), "an empty text is None"
    assert event.status in STATUS
    assert event.dispatch_id or event.external_send_id or event.scope
    assert len(set(event.flags)) == len(event.flags)
    for time in (event.provider_time, event.requested_at):
        assert time is None or iso_ms(epoch_ms(time)) == time
    assert message_id("s", event.dispatch_id, event.external_send_id, event.scope)
    assert fact_id(event.status, event.provider_status, event.provider_time, event.reason, event.occurrence)


@given(_postbacks)
def test_normalizing_twice_gives_the_same(postback: Postback) -> None:
    assert normalize(postback) == normalize(postback)


@given(_object)
def test_blanks_between_tokens_change_nothing(value: dict[str, object]) -> None:
    def read(separators: tuple[str, str], indent: int | None) -> Event | Rejected:
        body = json.dumps(value, separators=separators, indent=indent).encode()
        return normalize(Postback("s", "braze", KIND_POSTBACK, "r", 1_598_918_400_000, "", "", body))

    compact, wide = read((",", ":"), None), read((", ", " : "), 2)

    assert compact == wide or (isinstance(compact, Rejected) and isinstance(wide, Rejected))
