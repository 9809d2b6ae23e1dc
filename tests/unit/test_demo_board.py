"""The demo's table: what counts as the latest reason, and what is called out the first time."""

from __future__ import annotations

from schemas.codec import check
from schemas.records import Transition
from sendtrace.demo_board import Board


def transition(status: str, *, before: str | None = "sent", reason: str | None = None, name: str = "d1") -> Transition:
    record = {
        "transition_id": "m-f",
        "kind": "status",
        "message_id": "m",
        "source": "braze",
        "provider": "braze",
        "channel": "email",
        "dispatch_id": name,
        "external_send_id": None,
        "reference": None,
        "campaign_id": None,
        "from_status": before,
        "status": status,
        "outcome": "pending",
        "provider_status": status,
        "provider_time": None,
        "received_at": "2020-08-31T18:58:42.000Z",
        "reason": reason,
        "bounce_class": "unknown_recipient" if status == "bounced" else None,
        "conflict": False,
        "receipt_id": "r",
        "version": 1,
    }
    return check(Transition, record)


def test_the_first_of_each_wanted_status_is_called_out_once_with_its_reason() -> None:
    board = Board()
    first = board.feed([transition("bounced", reason="550 No"), transition("bounced", reason="550 Never")])

    assert first == ["first bounced: d1  550 No (unknown_recipient)"]
    assert board.feed([transition("bounced", reason="550 No")]) == []


def test_a_delivery_without_a_reason_says_so() -> None:
    assert Board().feed([transition("delivered")]) == ["first delivered: d1  no reason given"]


def test_a_postback_that_changes_no_status_is_not_the_latest_reason() -> None:
    board = Board()
    board.feed([transition("delivered", reason="250 OK"), transition("delivered", before="delivered", reason="opened")])
    board.count({"delivered": 1})

    assert board.grid().rows[0][-1].text == "250 OK"


def test_a_reason_is_not_lost_to_a_later_message_without_one() -> None:
    board = Board()
    board.feed([transition("delivered", reason="250 OK"), transition("delivered", name="d2")])
    board.count({"delivered": 2})

    assert board.grid().rows[0][-1].text == "250 OK"


def test_statuses_stand_in_the_order_of_a_messages_life_with_their_share() -> None:
    board = Board()
    board.count({"bounced": 1, "delivered": 2, "sent": 1, "aborted": 0})

    assert [row[0].text for row in board.grid().rows] == ["sent", "delivered", "bounced"]
    assert [row[2].text for row in board.grid().rows] == ["25.0%", "50.0%", "25.0%"]
    assert board.line() == "4 messages: sent 1, delivered 2, bounced 1"


def test_an_empty_board_can_be_shown() -> None:
    assert Board().line() == "0 messages: "
    assert Board().grid().rows == []


def test_the_example_is_a_failure_if_there_is_one() -> None:
    board = Board()
    board.feed([transition("delivered", name="fine"), transition("aborted", name="bad")])

    assert board.example() == "bad"


def test_what_a_provider_wrote_is_made_safe() -> None:
    assert "\x1b" not in Board().feed([transition("bounced", reason="\x1b[2J", name="\x1b[2J")])[0]
