"""360NRS notifications: identity without ids, occurrences, and odd input."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import orjson
import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.event import Event, Rejected
from schemas.identity import body_digest
from schemas.postback import KIND_POSTBACK, Postback
from schemas.rejections import RejectReason
from schemas.statuses import FAILURE_WORDS

FORM: Final = "application/x-www-form-urlencoded"
BASE: Final = {"id": "x1", "channel": "mailing", "contactId": "88", "campaignId": "12", "event": "opened"}

normalize = Normalizer(Classifier.load(None))


def _normalize(body: bytes, content_type: str) -> Event | Rejected:
    return normalize(Postback("nrs", "nrs360", KIND_POSTBACK, "r", 1_598_918_400_000, content_type, "", body))


def _event(fields: dict[str, str]) -> Event:
    found = _normalize(urlencode(fields).encode(), FORM)
    assert isinstance(found, Event), found
    return found


def _json(fields: dict[str, object]) -> Event | Rejected:
    return _normalize(orjson.dumps(fields), "application/json")


def test_a_soft_bounce_is_a_deferral_and_no_failure() -> None:
    event = _event({**BASE, "event": "soft_bounced", "smtpResponse": "452 4.2.2 over quota"})

    assert (event.status, event.provider_status, event.bounce_class) == ("deferred", "soft_bounced", "mailbox_full")
    assert event.status not in FAILURE_WORDS


def test_s10_an_unknown_event_stays_unknown_with_its_word() -> None:
    event = _event({**BASE, "event": "Forwarded"})

    assert (event.status, event.provider_status, event.occurrence) == ("unknown", "Forwarded", None)


def test_an_event_is_known_in_any_case() -> None:
    assert _event({**BASE, "event": " Hard_Bounced "}).status == "bounced"


def test_the_reply_of_a_success_is_kept_and_not_classed() -> None:
    event = _event({**BASE, "event": "delivered", "smtpResponse": "250 2.0.0 OK"})

    assert (event.reason, event.bounce_class) == ("250 2.0.0 OK", None)


def test_s9_a_send_without_id_is_its_campaign_contact_and_channel() -> None:
    event = _event({**BASE, "id": ""})

    assert (event.dispatch_id, event.scope, event.campaign_id) == (None, "12/88/mailing", "12")


def test_an_id_makes_a_scope_needless() -> None:
    assert _event(BASE).scope is None


def test_a_slash_in_a_part_of_the_scope_does_not_make_two_messages_one() -> None:
    one = _event({**BASE, "id": "", "campaignId": "1/2", "contactId": "3"})
    other = _event({**BASE, "id": "", "campaignId": "1", "contactId": "2/3"})

    assert one.scope != other.scope


@pytest.mark.parametrize("change", [{"campaignId": "0"}, {"campaignId": ""}, {"contactId": ""}, {"contactId": "0"}])
def test_without_campaign_or_contact_the_exact_body_is_the_message(change: dict[str, str]) -> None:
    fields = {**BASE, "id": "", **change}

    assert _event(fields).scope == body_digest(urlencode(fields).encode())


@pytest.mark.parametrize("nothing", ["0", "00", "0.0", "", "+0"])
def test_zero_and_empty_numbers_are_none(nothing: str) -> None:
    event = _event({**BASE, "campaignId": nothing, "contactId": nothing, "formId": nothing})

    assert (event.campaign_id, event.identifiers) == (None, ())


@pytest.mark.parametrize("content_type", [FORM, "application/json"])
def test_a_body_that_names_no_message_is_refused(content_type: str) -> None:
    body = b"event=sent&id=&campaignId=0" if content_type == FORM else b'{"event":"sent","id":null,"campaignId":0}'
    found = _normalize(body, content_type)

    assert isinstance(found, Rejected)
    assert found.reason is RejectReason.NO_IDENTITY


def test_contact_and_form_are_names_to_look_up() -> None:
    assert _event({**BASE, "event": "form_opened", "formId": "31"}).identifiers == ("88", "31")


def test_numbers_are_documented_for_contact_campaign_and_form_and_not_odd() -> None:
    found = _json({"event": "form_opened", "contactId": 88, "campaignId": 12, "formId": 31, "channel": "landing"})

    assert isinstance(found, Event)
    assert (found.campaign_id, found.identifiers, found.scope, found.flags) == ("12", ("88", "31"), "12/88/landing", ())


@pytest.mark.parametrize("field", ["id", "contactId", "campaignId"])
def test_a_number_of_any_length_keeps_its_digits(field: str) -> None:
    body = b'{"event":"sent","channel":"sms","%s":12345678901234567890123}' % field.encode()
    found = _normalize(body, "application/json")

    assert isinstance(found, Event)
    assert "12345678901234567890123" in {found.dispatch_id, found.campaign_id, *found.identifiers}
    assert found.flags == ("number_as_text",)


@pytest.mark.parametrize("field", ["id", "event", "channel", "contactId", "campaignId", "formId", "smtpResponse"])
@pytest.mark.parametrize("value", [True, [], {}])
def test_another_type_is_refused_and_the_field_named(field: str, value: object) -> None:
    found = _json({**BASE, field: value})

    assert isinstance(found, Rejected)
    assert (found.reason, field in found.detail) == (RejectReason.WRONG_TYPE, True)


ENGAGEMENT = [
    *("opened", "clicked", "unsubscribed", "unsubscribed_landing", "complaint"),
    *("form_opened", "form_submitted", "form_rejected"),
]


@pytest.mark.parametrize("word", ENGAGEMENT)
def test_engagement_has_an_occurrence_and_twenty_minutes_of_retries(word: str) -> None:
    event = _event({**BASE, "event": word})

    assert event.occurrence is not None
    assert event.retry_horizon_ms == 20 * 60 * 1000


@pytest.mark.parametrize(
    "word", ["sent", "delivered", "soft_bounced", "hard_bounced", "undelivered", "rejected", "expired"]
)
def test_the_way_of_a_message_has_no_occurrence(word: str) -> None:
    assert _event({**BASE, "event": word}).occurrence is None


def test_the_same_words_in_another_order_or_writing_are_the_same_occurrence() -> None:
    one = _event(BASE)
    again = _event(dict(reversed(list(BASE.items()))))
    written = _json({**BASE, "contactId": 88, "campaignId": 12, "extra": ""})

    assert isinstance(written, Event)
    assert one.occurrence == again.occurrence == written.occurrence


@pytest.mark.parametrize("change", [{"contactId": "89"}, {"extra": '{"url":"a"}'}, {"unknown": "1"}])
def test_any_other_word_is_another_occurrence(change: dict[str, str]) -> None:
    assert _event({**BASE, **change}).occurrence != _event(BASE).occurrence


def test_a_body_with_odd_nested_numbers_has_an_occurrence_too() -> None:
    found = _normalize(b'{"event":"opened","id":1.0,"extra":{"a":[1.50,{"b":null}]}}', "application/json")

    assert isinstance(found, Event)
    assert (found.dispatch_id, found.occurrence is not None) == ("1.0", True)


@pytest.mark.parametrize("channel", ["sms", "mailing", "landing", "text2speech", "appush", "webpush", "SMS"])
def test_documented_channels_are_not_odd(channel: str) -> None:
    event = _event({**BASE, "channel": channel})

    assert (event.channel, event.flags) == (channel, ())


def test_an_unknown_channel_is_kept_and_flagged() -> None:
    event = _event({**BASE, "channel": "fax"})

    assert (event.channel, event.flags) == ("fax", ("channel_unknown",))


def test_s17_json_inside_extra_in_a_form_with_a_charset_is_understood() -> None:
    fields = {**BASE, "event": "form_submitted", "extra": '{"formValues":{"nombre":"Peña"}}'}
    found = _normalize(urlencode(fields).encode(), FORM + "; charset=utf-8")

    assert isinstance(found, Event)
    assert (found.status, found.flags) == ("form_submitted", ())


@pytest.mark.parametrize("extra", ["{", "[1]", '"text"', "5", '{"a":"\\ud800"}', '{"a":NaN}', "[" * 5000])
def test_extra_that_holds_no_object_is_flagged_and_the_event_kept(extra: str) -> None:
    event = _event({**BASE, "extra": extra})

    assert (event.status, event.flags) == ("opened", ("extra_unreadable",))


@pytest.mark.parametrize("extra", ["", None, {}, {"formValues": {"a": 1}}, '{"formValues":{}}'])
def test_extra_may_be_missing_or_the_object_itself(extra: object) -> None:
    found = _json({**BASE, "extra": extra})

    assert isinstance(found, Event)
    assert found.flags == ()


def test_texts_a_fact_keeps_are_cut_and_flagged() -> None:
    event = _event({**BASE, "event": "e" * 300, "smtpResponse": "r" * 5000})

    assert (len(event.provider_status), len(event.reason or "")) == (256, 4096)
    assert event.flags == ("status_cut", "reason_cut")
