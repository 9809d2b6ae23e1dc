"""Braze postbacks: what the samples do not say already, above all bad and odd input."""

from __future__ import annotations

from typing import Final

import orjson
import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event, Rejected
from schemas.postback import KIND_POSTBACK, Postback
from schemas.rejections import RejectReason

RECEIVED_MS: Final = 1_598_918_400_000  # 2020-09-01T00:00:00Z

normalize = Normalizer(Classifier.load(None))


def _normalize(body: bytes | dict[str, object]) -> Event | Rejected:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return normalize(Postback("braze", "braze", KIND_POSTBACK, "r", RECEIVED_MS, "application/json", "", raw))


def _event(body: bytes | dict[str, object]) -> Event:
    found = _normalize(body)
    assert isinstance(found, Event), found
    return found


def _refused(body: bytes | dict[str, object]) -> Rejected:
    found = _normalize(body)
    assert isinstance(found, Rejected), found
    return found


def _body(status: object = "delivered", /, **metadata: object) -> dict[str, object]:
    return {"dispatch_id": "d1", "status": status, "metadata": {"external_send_id": "e1", **metadata}}


@pytest.mark.parametrize("word", ["delivered", "Delivered", "DELIVERED", " delivered\n"])
def test_a_status_is_known_in_any_case_and_the_providers_word_is_kept(word: str) -> None:
    event = _event(_body(word))

    assert (event.status, event.provider_status) == ("delivered", word)


@pytest.mark.parametrize("word", ["opened", "soft_bounced", "failed", "deliver\0ed", "\N{ZERO WIDTH SPACE}sent"])
def test_s10_an_unknown_status_stays_unknown_with_its_word_and_is_no_failure(word: str) -> None:
    event = _event(_body(word, reason="550 5.1.1 no such user"))

    assert (event.status, event.provider_status, event.bounce_class) == ("unknown", word, None)
    assert event.reason == "550 5.1.1 no such user"


def test_the_time_of_an_unknown_status_is_found_by_its_name() -> None:
    event = _event(_body("Deferred", deferred_at="2020-08-31T10:00:00Z", sent_at="2020-08-31T09:00:00Z"))

    assert event.provider_time == "2020-08-31T10:00:00.000Z"


@pytest.mark.parametrize("status", ["sent", "processed", "delivered", "bounced", "aborted"])
def test_the_time_is_the_one_named_after_the_status(status: str) -> None:
    every = {
        f"{word}_at": f"2020-08-31T10:00:0{place}Z"
        for place, word in enumerate(
            ["sent", "processed", "delivered", "bounced", "aborted", "received", "enqueued", "executed"]
        )
    }

    assert _event(_body(status, **every)).provider_time == every[f"{status}_at"][:-1] + ".000Z"


def test_a_delivery_is_never_given_the_time_of_another_step() -> None:
    assert _event(_body("delivered", processed_at="2020-08-31T10:00:00Z")).provider_time is None


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("delivered_at", "soon", "provider_time_unreadable"),
        ("delivered_at", 1598900321, "provider_time_unreadable"),
        ("delivered_at", 0, "provider_time_unreadable"),
        ("delivered_at", False, "provider_time_unreadable"),
        ("delivered_at", ["2020-08-31T10:00:00Z"], "provider_time_unreadable"),
        ("delivered_at", "2020-08-31T10:00:00", "provider_time_without_zone"),
        ("delivered_at", "2020-09-02T00:00:01Z", "provider_time_in_future"),
        ("delivered_at", "2016-12-31T23:59:60Z", "provider_time_leap_second"),
        ("received_at", "soon", "requested_at_unreadable"),
        ("received_at", {}, "requested_at_unreadable"),
    ],
)
def test_a_broken_time_is_flagged_and_the_event_kept(field: str, value: object, flag: str) -> None:
    event = _event(_body(**{field: value}))

    assert event.flags == (flag,)
    assert (event.provider_time is None) == (flag in {"provider_time_unreadable", "requested_at_unreadable"})


@pytest.mark.parametrize("field", ["enqueued_at", "executed_at"])
def test_the_steps_without_a_column_are_checked_too(field: str) -> None:
    times = {"received_at": "2020-08-31T10:00:00Z", "enqueued_at": "2020-08-31T10:00:01Z", "executed_at": None}

    assert _event(_body("sent", **times)).flags == ()
    assert _event(_body("sent", **{**times, field: "soon"})).flags == (f"{field}_unreadable",)


def test_when_braze_got_the_request_is_kept() -> None:
    assert _event(_body("sent", received_at="2020-08-31T20:00:00+02:00")).requested_at == "2020-08-31T18:00:00.000Z"


@pytest.mark.parametrize("missing", [None, ""])
def test_either_id_is_enough(missing: object) -> None:
    by_send = _event({"dispatch_id": missing, "status": "sent", "metadata": {"external_send_id": "e1"}})
    by_dispatch = _event({"dispatch_id": "d1", "status": "sent", "metadata": {"external_send_id": missing}})

    assert (by_send.dispatch_id, by_send.external_send_id, by_send.reference) == (None, "e1", "e1")
    assert (by_dispatch.dispatch_id, by_dispatch.external_send_id, by_dispatch.reference) == ("d1", None, None)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "sent"},
        {"status": "sent", "dispatch_id": None, "metadata": None},
        {"status": "sent", "dispatch_id": "", "metadata": {"external_send_id": "", "campaign_api_id": "c"}},
    ],
)
def test_no_id_at_all_is_refused(body: dict[str, object]) -> None:
    assert _refused(body).reason is RejectReason.NO_IDENTITY


@pytest.mark.parametrize("status", [None, "", "  "])
def test_no_status_is_refused(status: object) -> None:
    assert _refused(_body(status)).reason is RejectReason.NO_STATUS
    assert _refused(_body(status, reason="why")).reason is RejectReason.NO_STATUS


def test_an_empty_object_has_no_status() -> None:
    assert _refused(b"{}").reason is RejectReason.NO_STATUS


@pytest.mark.parametrize("written", ["1234", "1.0", "1.50", "-0", "1E+2", "12345678901234567890123", "0.1e-7"])
def test_a_number_where_a_text_is_due_keeps_its_writing(written: str) -> None:
    body = '{"dispatch_id":%s,"status":"sent","metadata":{"external_send_id":%s,"campaign_api_id":"c"}}'
    event = _event((body % (written, written)).encode())

    assert (event.dispatch_id, event.external_send_id, event.reference) == (written, written, written)
    assert event.flags == ("number_as_text",)


@pytest.mark.parametrize("field", ["status", "dispatch_id"])
@pytest.mark.parametrize("value", [True, False, [], ["d"], {}, {"a": 1}])
def test_another_type_than_text_is_refused_and_the_field_named(field: str, value: object) -> None:
    found = _refused({**_body(), field: value})

    assert found.reason is RejectReason.WRONG_TYPE
    assert f"The field {field} must be a text" in found.detail


@pytest.mark.parametrize("field", ["external_send_id", "campaign_api_id", "reason"])
@pytest.mark.parametrize("value", [True, [], {}])
def test_another_type_inside_metadata_is_refused_and_the_field_named(field: str, value: object) -> None:
    found = _refused(_body("bounced", **{field: value}))

    assert found.reason is RejectReason.WRONG_TYPE
    assert f"metadata.{field}" in found.detail


def test_a_number_beside_a_wrong_type_is_still_a_wrong_type() -> None:
    assert _refused(_body(5, reason=[])).reason is RejectReason.WRONG_TYPE


@pytest.mark.parametrize("metadata", [[], "text", 5, True])
def test_metadata_that_is_no_object_is_refused(metadata: object) -> None:
    found = _refused({"dispatch_id": "d", "status": "sent", "metadata": metadata})

    assert (found.reason, "metadata must be an object" in found.detail) == (RejectReason.WRONG_TYPE, True)


def test_nul_and_any_character_in_a_text_are_kept() -> None:
    odd = "a\0b\N{GRINNING FACE}\N{REPLACEMENT CHARACTER}\u202e"
    event = _event({"dispatch_id": odd, "status": odd, "metadata": {"external_send_id": odd, "reason": odd}})

    assert (event.dispatch_id, event.provider_status, event.external_send_id, event.reason) == (odd,) * 4


def test_texts_a_fact_keeps_are_cut_and_flagged_and_ids_are_not() -> None:
    event = _event({"dispatch_id": "d" * 9999, "status": "s" * 257, "metadata": {"reason": "r" * 4097}})

    assert (len(event.provider_status), len(event.reason or ""), len(event.dispatch_id or "")) == (256, 4096, 9999)
    assert event.flags == ("status_cut", "reason_cut")


def test_texts_at_their_limit_are_not_cut() -> None:
    event = _event(_body("s" * 256, reason="r" * 4096))

    assert (len(event.provider_status), len(event.reason or ""), event.flags) == (256, 4096, ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"events": [{"event_type": "users.messages.email.Delivery"}]}, "Currents"),
        ({"event_type": "users.messages.email.Delivery", "id": "1"}, "Currents"),
        ({"text": "alert", "data": {"value": 2}}, "campaign alert"),
        ({"recipient": {"external_user_id": "u"}, "external_send_id": "e"}, "send API"),
        ({"attributes": [{"external_id": "u"}]}, "/users/track"),
        ({"purchases": [{"external_id": "u"}]}, "/users/track"),
        ({"users": [], "message": "success"}, "/users/track/sync"),
        ({"message": "Campaign does not exist"}, "Braze API"),
        ({"event": "opened", "contactId": 5, "channel": "mailing"}, "360NRS"),
    ],
)
def test_another_feed_is_named(body: dict[str, object], words: str) -> None:
    found = _refused(body)

    assert found.reason is RejectReason.OTHER_FEED
    assert words in found.detail


def test_a_postback_with_a_field_of_another_feed_is_a_postback() -> None:
    assert _event({**_body(), "events": [], "message": "x", "recipient": {}}).status == "delivered"
