"""The stand-in providers' bodies beside the documented examples: same fields, same order, same formats."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import islice
from random import Random
from typing import cast
from urllib.parse import parse_qsl

import pytest

from processors.providers import discover, samples
from sendtrace.sandbox_braze import ENDINGS, BrazeSender
from sendtrace.sandbox_nrs import CHANNELS, WAYS, NrsSender
from sendtrace.sandbox_posting import Wall
from sendtrace.sandbox_traffic import traffic

START_MS = 1_700_000_000_123
BRAZE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+00:00")
SEND_ID = re.compile(r"[a-zA-Z0-9\-_+/=]+")  # as Braze's send endpoint checks it


def braze_story(ending: str, seed: int = 3) -> list[dict[str, object]]:
    sender = BrazeSender(Random(seed), Wall(START_MS), first_order=1)
    return [json.loads(posting.body) for posting in sender.story(0, ending)]


def documented(status: str) -> dict[str, object]:
    """The example of seed 000 for a status."""
    bodies = (str(sample["body"]) for sample in samples("braze") if sample["source"] == "seed 000")
    return next(body for body in map(json.loads, bodies) if body["status"] == status)


def metadata(body: dict[str, object]) -> dict[str, str]:
    return cast(dict[str, str], body["metadata"])


@cache
def forms() -> list[dict[str, str]]:
    postings = islice(traffic(seed=7, messages_per_s=50, start_ms=START_MS, providers=("nrs360",)), 8_000)
    return [dict(parse_qsl(posting.body.decode(), keep_blank_values=True)) for posting in postings]


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("sent", "delivered"),
        ("processed", "delivered"),
        ("delivered", "delivered"),
        ("bounced", "bounced"),
        ("aborted", "aborted"),
    ],
)
def test_braze_bodies_have_the_fields_of_the_page_in_its_order(status: str, ending: str) -> None:
    made = next(body for body in braze_story(ending) if body["status"] == status)
    page = documented(status)

    assert list(made) == list(page)
    assert list(metadata(made)) == list(metadata(page))


def test_braze_times_are_written_like_those_of_the_page() -> None:
    times = [value for body in braze_story("bounced") for name, value in metadata(body).items() if name[-3:] == "_at"]

    assert len(times) == 6
    assert all(BRAZE_TIME.fullmatch(time) for time in times)


def test_braze_ids_are_of_the_documented_form() -> None:
    bodies = braze_story("delivered")

    assert {len(str(body["dispatch_id"])) for body in bodies} == {32}
    assert all(SEND_ID.fullmatch(metadata(body)["external_send_id"]) for body in bodies)


def test_all_endings_of_a_braze_message_occur() -> None:
    told = {ending: [body["status"] for body in braze_story(ending)] for ending in ENDINGS}

    assert told["silent"] == ["sent", "processed"]
    assert told["aborted"] == ["aborted"]
    assert told["bounced late"] == ["sent", "processed", "delivered", "bounced"]
    assert not set(told["unknown word"]) <= discover()["braze"].statuses.keys()


def test_an_early_delivery_is_dated_before_it_was_sent() -> None:
    sent, _, delivered = map(metadata, braze_story("early delivery"))

    assert delivered["delivered_at"] < sent["sent_at"]


def test_the_traffic_has_every_event_and_channel_of_360nrs() -> None:
    told = forms()

    assert {form["event"] for form in told if "event" in form} >= discover()["nrs360"].statuses.keys()
    assert {form["channel"] for form in told if "channel" in form} == set(CHANNELS) == set(WAYS)


def test_a_form_has_the_fields_of_the_vendors_sample_in_its_order() -> None:
    posting = NrsSender(Random(1)).story(0, ("sent",), channel="sms")[0]
    sample = str(next(sample["body"] for sample in samples("nrs360") if sample["name"] == "sent on sms"))

    assert [name for name, _ in parse_qsl(posting.body.decode())] == [name for name, _ in parse_qsl(sample)]
    assert posting.content_type == "application/x-www-form-urlencoded"


def test_only_form_events_have_a_form_and_only_submitted_ones_values() -> None:
    told = [form for form in forms() if "event" in form and form["event"] in discover()["nrs360"].statuses]

    assert {form["event"] for form in told if "formId" in form} == {"form_opened", "form_submitted", "form_rejected"}
    assert {form["event"] for form in told if "extra" in form} == {"form_submitted"}
    assert all("formValues" in json.loads(form["extra"]) for form in told if "extra" in form)


def test_only_the_documented_mailing_events_carry_an_smtp_reply() -> None:
    told = [form for form in forms() if "smtpResponse" in form]

    assert {form["channel"] for form in told} == {"mailing"}
    assert {form["event"] for form in told} == {"delivered", "soft_bounced", "hard_bounced"}


def test_some_sends_have_no_id_and_some_campaign_zero() -> None:
    told = forms()

    assert any(form.get("id") == "" and form.get("campaignId") != "0" for form in told)
    assert any(form.get("campaignId") == "0" and form["campaignName"] == "" and form["id"] for form in told)
