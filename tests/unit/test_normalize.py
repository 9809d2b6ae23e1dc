"""From a postback to an event, whatever the provider: encodings, unknown providers, and what may never happen."""

from __future__ import annotations

import gzip
import zlib
from typing import Final
from urllib.parse import urlencode

import orjson
import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.providers import discover
from schemas.event import Event, Rejected
from schemas.postback import KIND_POSTBACK, Postback
from schemas.rejections import RejectReason

SENT: Final = b'{"dispatch_id":"d","status":"sent","metadata":{"external_send_id":"e","campaign_api_id":"c"}}'
CLICKED: Final = urlencode({"id": "x", "event": "clicked", "channel": "sms", "contactId": "5"}).encode()

normalize = Normalizer(Classifier.load(None))


def _postback(body: bytes, *, provider: str = "braze", content_type: str = "", encoding: str = "") -> Postback:
    return Postback("s", provider, KIND_POSTBACK, "r", 1_598_918_400_000, content_type, encoding, body)


def _event(postback: Postback) -> Event:
    found = normalize(postback)
    assert isinstance(found, Event), found
    return found


def _refused(postback: Postback) -> Rejected:
    found = normalize(postback)
    assert isinstance(found, Rejected), found
    return found


@pytest.mark.parametrize(("provider", "body"), [("braze", SENT), ("nrs360", CLICKED)])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_body_means_what_the_plain_one_means(provider: str, body: bytes, encoding: str) -> None:
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)

    assert _event(_postback(packed, provider=provider, encoding=encoding)) == _event(_postback(body, provider=provider))


@pytest.mark.parametrize(("provider", "body"), [("braze", SENT), ("nrs360", CLICKED)])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_plain_body_under_a_compressed_name_is_read_and_flagged(provider: str, body: bytes, encoding: str) -> None:
    plain = _event(_postback(body, provider=provider))

    event = _event(_postback(body, provider=provider, encoding=encoding))

    assert event == plain._replace(flags=("encoding_ignored",))


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"garbage", "gzip", RejectReason.BAD_ENCODING),
        (b'{"a":', "gzip", RejectReason.BAD_ENCODING),
        (gzip.compress(SENT)[:-1], "gzip", RejectReason.BAD_ENCODING),
        (SENT, "br", RejectReason.BAD_ENCODING),
        (gzip.compress(bytes(3_000_000)), "gzip", RejectReason.INFLATED_TOO_LARGE),
        (gzip.compress(b""), "gzip", RejectReason.EMPTY_BODY),
        (b"", "gzip", RejectReason.EMPTY_BODY),
        (gzip.compress(b"[1]"), "gzip", RejectReason.NOT_AN_OBJECT),
    ],
)
def test_what_cannot_be_inflated_or_understood_after_it_is_refused(
    body: bytes, encoding: str, reason: RejectReason
) -> None:
    assert _refused(_postback(body, encoding=encoding)).reason is reason


def test_a_number_as_text_is_read_exactly_from_a_compressed_body_too() -> None:
    body = gzip.compress(b'{"dispatch_id":1.0,"status":"sent"}')

    event = _event(_postback(body, encoding="gzip"))

    assert (event.dispatch_id, event.flags) == ("1.0", ("number_as_text",))


def test_flags_of_every_stage_are_kept_in_order() -> None:
    body = b'{"id":1.0,"event":"sent","channel":"fax"}'
    postback = _postback(body, provider="nrs360", content_type="application/x-www-form-urlencoded", encoding="gzip")

    flags = _event(postback).flags

    assert flags == ("encoding_ignored", "content_type_ignored", "number_as_text", "channel_unknown")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json; charset=latin-1", "\udcff;;"])
def test_the_content_type_of_json_does_not_matter(content_type: str) -> None:
    assert _event(_postback(SENT, content_type=content_type)).status == "sent"


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_an_unknown_provider_is_refused(encoding: str) -> None:
    refused = _refused(_postback(SENT, provider="postmark", encoding=encoding))

    assert refused.reason is RejectReason.UNKNOWN_PROVIDER


def test_s15_a_reply_of_several_lines_is_classed_by_what_all_its_lines_say() -> None:
    reason = "550-5.7.26 This mail has been blocked because the\n550-5.7.26 sender is\n550 5.7.26 unauthenticated."
    body = orjson.dumps({"dispatch_id": "d", "status": "bounced", "metadata": {"reason": reason}})

    event = _event(_postback(body))

    assert (event.reason, event.bounce_class) == (reason, "authentication")


@pytest.mark.parametrize("secret", ["ana@example.org", "topsecret", "12345"])
@pytest.mark.parametrize(
    "body",
    [
        b"%s",
        b'{"status":"%s"',
        b'{"status":["%s"],"dispatch_id":"d"}',
        b'{"%s":1,"%s":2}',
        b'{"recipient":"%s"}',
        b'["%s"]',
        b'"%s"',
        b"event=sent&%s=1&%s=2",
        b"--%s\r\n\r\n--%s--",
    ],
)
@pytest.mark.parametrize("provider", ["braze", "nrs360"])
def test_a_refusal_never_quotes_the_body(provider: str, body: bytes, secret: str) -> None:
    refused = _refused(_postback(body.replace(b"%s", secret.encode()), provider=provider))

    assert secret not in refused.detail.replace("'topsecret'", "")  # a plain field name may be told
    assert 0 < len(refused.detail) <= 200


@pytest.mark.parametrize("provider", discover())
def test_the_result_does_not_depend_on_what_was_normalized_before(provider: str) -> None:
    body = SENT if provider == "braze" else CLICKED
    first = normalize(_postback(body, provider=provider))

    for other in (b"", b"{}", b"[", b"\xff", b"a=1&a=2"):
        normalize(_postback(other, provider=provider))

    assert normalize(_postback(body, provider=provider)) == first
