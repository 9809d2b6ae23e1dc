"""The timeline of a message, made from what the real core makes of real postbacks."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import orjson
import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.codec import check
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import MessageDetail, StatusRecord, message_status
from schemas.times import iso_ms
from sendtrace.timeline import Meaning, Said, lag, timeline

DISPATCH = "acf471119f7449d579e8089032003ded"
FIRST_MS = 1_598_900_322_000  # 2020-08-31T18:58:42.000Z


class NoStates:
    """A store that knows no message yet."""

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        del message_ids
        return {}


def braze(status: str, at: str | None = None, **metadata: str) -> bytes:
    told = {f"{status}_at": f"2020-08-31T{at}.000+00:00"} if at else {}
    return orjson.dumps({"dispatch_id": DISPATCH, "status": status, "metadata": {**told, **metadata}})


def detail_of(*bodies: bytes, every_ms: int = 1_500) -> MessageDetail:
    records = [
        LogRecord(
            n, Postback("braze", "braze", KIND_POSTBACK, f"r{n}", FIRST_MS + n * every_ms, "text/plain", "", body)
        )
        for n, body in enumerate(bodies)
    ]
    batch = PartitionProcessor(normalize=Normalizer(Classifier.load(None)), store=NoStates()).handle(records)
    (state,) = batch.states.values()
    postbacks = [
        {
            "receipt_id": receipt.record.postback.receipt_id,
            "received_at": receipt.received_at,
            "content_type": receipt.record.postback.content_type,
            "effect": receipt.effect,
            "flags": list(receipt.flags),
            "body_base64": base64.b64encode(receipt.record.postback.body).decode(),
        }
        for receipt in batch.receipts
    ]
    told = {"transitions": batch.transitions, "postbacks": postbacks, "incidents": []}
    return check(MessageDetail, {**message_status(state), **told})


def lines_of(*bodies: bytes, said: dict[str, Said] | None = None) -> list[str]:
    return [line.plain for line in timeline(detail_of(*bodies), said=said)]


def steps_of(*bodies: bytes) -> list[str]:
    """The lines below the headings."""
    lines = lines_of(*bodies)
    return lines[next(n for n, line in enumerate(lines) if line.startswith("received")) + 1 :]


def test_the_head_says_who_what_and_why() -> None:
    head = lines_of(
        braze("sent", "18:58:42", external_send_id="order-1", received_at="2020-08-31T18:58:41Z"),
        braze("bounced", "18:58:43", external_send_id="order-1", reason="550 5.1.1 No such person"),
    )

    assert head[0] == f"{DISPATCH}  bounced (failed)"
    assert "source     braze · email" in head
    assert "send id    order-1" in head
    assert "reason     550 5.1.1 No such person" in head
    assert "class      unknown_recipient" in head
    assert "times      requested 2020-08-31 18:58:41 · sent 18:58:42 · failed 18:58:43" in head


def test_a_class_is_explained_where_its_meaning_is_known() -> None:
    detail = detail_of(braze("bounced", reason="550 5.1.1 No"))
    meanings = {"unknown_recipient": Meaning("There is no such mailbox.", "Ask for another address.")}
    lines = [line.plain for line in timeline(detail, meanings=meanings)]

    assert "class      unknown_recipient: There is no such mailbox." in lines
    assert "to do      Ask for another address." in lines


def test_each_postback_has_a_line_in_order_of_arrival() -> None:
    steps = steps_of(braze("delivered", "18:58:43"), braze("sent", "18:58:41"), braze("processed", "18:58:42"))

    assert [step.split()[5] for step in steps] == ["delivered", "sent", "processed"]


def test_an_applied_postback_says_where_it_led() -> None:
    first, second, third = steps_of(braze("sent"), braze("delivered"), braze("processed"))

    assert first.endswith("applied: now sent")
    assert second.endswith("applied: sent → delivered")
    assert third.endswith("applied: stays delivered")


def test_a_repeat_is_folded() -> None:
    assert steps_of(braze("sent"), braze("sent"))[1].endswith("folded: nothing new")


def test_what_a_folded_postback_says_is_shown_when_it_is_known() -> None:
    said = {"r1": Said("sent", "2020-08-31T18:58:42.000Z", None)}
    step = lines_of(braze("sent", "18:58:42"), braze("sent", "18:58:42"), said=said)[-1]

    assert step.split("  ")[1:4] == ["18:58:42.000", " 1.5 s", "sent"]


def test_a_contradiction_is_named_as_one() -> None:
    lines = lines_of(braze("delivered"), braze("bounced", reason="550 5.1.1 No"))

    assert lines[0].endswith("its postbacks contradict each other")
    assert any(line.endswith("contradicted: delivered → bounced") for line in lines)


def test_a_second_contradiction_is_named_too() -> None:
    steps = steps_of(braze("delivered"), braze("bounced"), braze("aborted"))

    assert [step.rpartition("  ")[2].split(":")[0] for step in steps] == ["applied", "contradicted", "contradicted"]


def test_an_unknown_word_is_kept_and_said_to_be_unknown() -> None:
    assert steps_of(braze("sent"), braze("vanished"))[1].endswith("vanished  unknown word, kept: stays sent")


def test_a_reason_stands_below_its_postback() -> None:
    assert steps_of(braze("aborted", reason="User not emailable"))[1] == "    User not emailable"


def test_odd_things_are_named_below_their_postback() -> None:
    assert steps_of(braze("sent", "yesterday"))[1] == "    odd: provider time unreadable"


def test_the_date_of_the_provider_is_shown_only_when_it_is_another() -> None:
    same, other = steps_of(
        braze("sent", "18:58:42"),
        orjson.dumps(
            {"dispatch_id": DISPATCH, "status": "delivered", "metadata": {"delivered_at": "2020-08-30T10:00:00Z"}}
        ),
    )

    assert "  18:58:42.000 " in same
    assert "  2020-08-30 10:00:00.000 " in other


def test_what_a_provider_wrote_cannot_steer_the_terminal() -> None:
    evil = "\x1b[2J\u202e\r\n550 \x9b31m"
    text = "\n".join(
        lines_of(
            braze("bounced", reason=evil, external_send_id=evil, campaign_api_id=evil),
            braze(evil, external_send_id=evil),
        )
    )

    assert text.replace("\n", "").isprintable()
    assert r"\x1b[2J\u202e\r\n550 \x9b31m" in text


@pytest.mark.parametrize(
    ("late_ms", "words"),
    [
        (0, "0 ms"),
        (340, "340 ms"),
        (1_240, "1.2 s"),
        (59_000, "59 s"),
        (31 * 60_000, "31 min"),
        (9_000_000, "2.5 h"),
        (3 * 86_400_000, "3.0 d"),
        (-2_000, "-2.0 s"),
    ],
)
def test_lag_is_in_units_of_people(late_ms: int, words: str) -> None:
    assert lag(iso_ms(FIRST_MS), iso_ms(FIRST_MS + late_ms)) == words


def test_there_is_no_lag_without_a_providers_time() -> None:
    assert lag(None, "2020-08-31T18:58:42.000Z") == "–"
