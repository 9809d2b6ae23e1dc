"""The situations in which neighbouring systems lose or mistake an outcome (facts: who fails, and why)."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.scenarios.scenario_rig import HOUR_MS, MINUTE_MS, Pipeline, Sent, braze, nrs360

BOUNCE = "550 5.1.1 The email account that you tried to reach does not exist"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


def test_s1_a_bounce_that_comes_before_everything_else_stays_the_outcome(pipeline: Pipeline) -> None:
    pipeline.receive(
        braze("bounced", bounced_at="2020-08-31T18:58:43.000+00:00", reason=BOUNCE),
        braze("processed", processed_at="2020-08-31T18:58:42.000+00:00"),
        braze("sent", sent_at="2020-08-31T18:58:42.000+00:00"),
    )

    message = pipeline.message
    assert (message["status"], message["outcome"], message["reason"]) == ("bounced", "failed", BOUNCE)
    assert message["bounce_class"] == "unknown_recipient"
    assert [fact["effect"] for fact in message["facts"]].count("current") == 1


def test_s2_the_seeds_own_example_is_delivered_although_its_clock_runs_backwards(pipeline: Pipeline) -> None:
    pipeline.receive(
        braze("sent", sent_at="2020-08-31T18:58:42.000+00:00"),
        braze("processed", processed_at="2020-08-31T18:58:42.000+00:00"),
        braze("delivered", delivered_at="2020-08-31T18:27:32.000+00:00"),
    )

    message = pipeline.message
    assert (message["status"], message["conflict"]) == ("delivered", False)
    assert message["delivered_at"] == "2020-08-31T18:27:32.000Z"


def test_s3_a_bounce_after_delivery_is_not_dropped(pipeline: Pipeline) -> None:
    pipeline.receive(
        braze("delivered", delivered_at="2020-08-31T18:58:42.000Z"),
        braze("bounced", bounced_at="2020-08-31T18:58:59.000Z", reason=BOUNCE),
    )

    message = pipeline.message
    assert (message["status"], message["outcome"], message["conflict"]) == ("bounced", "failed", True)
    assert {fact["status"]: fact["effect"] for fact in message["facts"]} == {
        "delivered": "conflicting",
        "bounced": "current",
    }
    assert [transition["kind"] for batch in pipeline.batches for transition in batch.transitions] == [
        "status",
        "conflict",
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_s4_a_transient_bounce_beside_a_delivery_is_a_delivery(pipeline: Pipeline, order: tuple[int, ...]) -> None:
    told = [nrs360("soft_bounced", smtpResponse="450 4.2.0 Out of office"), nrs360("delivered")]

    pipeline.receive(*(told[place] for place in order))

    assert (pipeline.message["status"], pipeline.message["conflict"]) == ("delivered", False)


def test_s7_the_same_postback_29_hours_later_is_a_repeat(pipeline: Pipeline) -> None:
    delivered = braze("delivered", delivered_at="2020-08-31T18:58:42.000Z")

    pipeline.receive(delivered, delivered._replace(after_ms=29 * HOUR_MS))

    assert pipeline.effects == ["applied", "duplicate"]
    assert pipeline.message["duplicates"] == 1


def test_s8_the_same_click_within_the_retries_is_one_and_later_is_another(pipeline: Pipeline) -> None:
    click = nrs360("clicked")
    waits_min = [0, 1, 2, 3, 4, 5]  # the first try and five retries, as the seed says
    pipeline.receive(*(click._replace(after_ms=wait * MINUTE_MS) for wait in waits_min))
    assert pipeline.effects == ["applied", *["duplicate"] * 5]

    pipeline.receive(click._replace(after_ms=21 * MINUTE_MS))

    assert pipeline.effects[-1] == "applied"
    assert [fact["duplicates"] for fact in sorted(pipeline.message["facts"], key=lambda f: f["received_at"])] == [5, 0]


def test_s9_web_sends_without_id_are_told_apart_by_campaign_contact_and_channel(pipeline: Pipeline) -> None:
    pipeline.receive(
        nrs360("sent", id="", campaignId="44"),
        nrs360("hard_bounced", id="", campaignId="44"),
        nrs360("delivered", id="", campaignId="44", contactId="8"),
        nrs360("delivered", id="", campaignId="44", channel="sms"),
    )

    assert [(m["dispatch_id"], m["status"]) for m in pipeline.messages] == [
        (None, "bounced"),
        (None, "delivered"),
        (None, "delivered"),
    ]


def test_s9_without_a_campaign_two_sends_are_never_merged_by_guess(pipeline: Pipeline) -> None:
    first, second = nrs360("sent", id="", campaignId="0"), nrs360("delivered", id="", campaignId="0")

    pipeline.receive(first, second, first)

    assert [m["status"] for m in pipeline.messages] == ["sent", "delivered"]
    assert pipeline.effects == ["applied", "applied", "duplicate"]


def test_s10_an_unknown_word_is_kept_and_fails_nothing(pipeline: Pipeline) -> None:
    pipeline.receive(braze("quarantined"), braze("sent", sent_at="2020-08-31T18:58:42.000Z"))

    message = pipeline.message
    assert (message["status"], message["outcome"]) == ("sent", "pending")
    assert ("unknown", "quarantined", "unknown") in [
        (fact["status"], fact["provider_status"], fact["effect"]) for fact in message["facts"]
    ]


def test_s15_a_multi_line_reply_is_classed_by_its_code(pipeline: Pipeline) -> None:
    reply = (
        "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 5.7.26 SPF did not pass"
    )

    pipeline.receive(nrs360("hard_bounced", smtpResponse=reply))

    assert pipeline.message["bounce_class"] == "authentication"


def test_s17_a_form_with_json_inside_and_a_charset_is_read(pipeline: Pipeline) -> None:
    pipeline.receive(
        nrs360(
            "form_submitted",
            content_type="application/x-www-form-urlencoded; charset=UTF-8",
            formId="3",
            extra='{"formValues": {"nombre": "Begoña", "x": "1&2=3"}}',
        )
    )

    assert pipeline.effects == ["applied"]
    assert pipeline.batches[0].identifiers == [
        ("7", pipeline.message["message_id"]),
        ("3", pipeline.message["message_id"]),
    ]


def test_one_external_send_id_with_two_dispatches_leaks_no_outcome(pipeline: Pipeline) -> None:
    body = b'{"dispatch_id": "%s", "status": "%s", "metadata": {"external_send_id": "order-1"}}'
    told = [(b"d1", b"bounced"), (b"d2", b"delivered"), (b"d1", b"sent")]

    for order in permutations(told):
        pipeline.receive(*(Sent("braze", body % pair) for pair in order))

    assert {(m["dispatch_id"], m["status"]) for m in pipeline.messages} == {("d1", "bounced"), ("d2", "delivered")}


def test_one_dispatch_id_shared_by_two_sends_leaks_no_outcome(pipeline: Pipeline) -> None:
    body = b'{"dispatch_id": "d1", "status": "%s", "metadata": {"external_send_id": "%s"}}'

    pipeline.receive(Sent("braze", body % (b"bounced", b"order-1")), Sent("braze", body % (b"sent", b"order-2")))

    assert {m["external_send_id"]: m["status"] for m in pipeline.messages} == {"order-1": "bounced", "order-2": "sent"}


def test_engagement_alone_means_that_it_arrived(pipeline: Pipeline) -> None:
    pipeline.receive(nrs360("opened"))

    message = pipeline.message
    assert (message["status"], message["outcome"], message["delivered_at"]) == ("delivered", "delivered", None)
