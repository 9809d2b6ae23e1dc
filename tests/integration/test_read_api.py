"""The read API over HTTP: every answer as its record says, lists in whole pages, refusals that say why."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import check
from schemas.records import Audit, DeadLetterView, MessageDetail, MessageStatus
from tests.integration.read_api_rig import Client, asking
from tests.integration.read_rig import Plant, Sent, braze, documented, nrs


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


@pytest.fixture
def client(plant: Plant) -> Iterator[Client]:
    with asking(plant) as made:
        yield made


def pages(client: Client, path: str, *, plant: Plant | None = None, **asked: object) -> Iterator[list[dict[str, Any]]]:
    """Page after page; with a plant, another message comes in between."""
    cursor: dict[str, object] = {}
    number = 1000
    while True:
        (_, items), (_, following) = client.get(path, asked | cursor).json.items()
        yield items
        if following is None:
            return
        cursor = {"cursor": following}
        number += 1
        if plant is not None:
            plant.fold(braze(f"d{number}", "bounced"), Sent(b"no json"))


def test_every_documented_message_is_listed_and_shown_as_its_record_says(plant: Plant, client: Client) -> None:
    plant.fold(*documented())

    listed = client.get("/v1/messages", {"limit": 1000}).json

    assert sorted(listed) == ["messages", "next_cursor"]
    assert len(listed["messages"]) > 40
    for message in listed["messages"]:
        check(MessageStatus, message)
        detail = client.get(f"/v1/messages/{message['message_id']}").json
        check(MessageDetail, detail)
        assert {name: detail[name] for name in message} == message


def test_every_documented_body_that_was_not_understood_is_listed_with_its_bytes(plant: Plant, client: Client) -> None:
    plant.fold(*documented())

    listed = client.get("/v1/dead", {"limit": 1000}).json

    assert sorted(listed) == ["dead", "next_cursor"]
    bodies = [b64decode(check(DeadLetterView, letter)["body_base64"]) for letter in listed["dead"]]
    assert len(bodies) > 30
    assert set(bodies) <= {sent.body for sent in documented()}


def test_the_audit_adds_up_and_keeps_its_totals_when_rows_are_limited(plant: Plant, client: Client) -> None:
    plant.fold(*documented())
    plant.keep(braze("d1", "sent"))

    account = check(Audit, client.get("/v1/audit").json)
    short = check(Audit, client.get("/v1/audit", {"limit": 1}).json)

    assert account["balanced"]
    assert account["accepted"] == len(documented()) + 1 == sum(row["accepted"] for row in account["rows"])
    assert account["pending"] == 1
    assert short == {**account, "rows": account["rows"][:1]}


def test_a_message_comes_with_the_exact_bytes_of_its_postbacks(plant: Plant, client: Client) -> None:
    sent = [braze("d1", "sent"), braze("d1", "delivered", reason="é\0"), braze("d1", "sent")]
    receipts = plant.fold(*sent)
    (message,) = client.get("/v1/messages").json["messages"]

    postbacks = client.get(f"/v1/messages/{message['message_id']}").json["postbacks"]

    assert [postback["receipt_id"] for postback in postbacks] == receipts
    assert [b64decode(postback["body_base64"]) for postback in postbacks] == [one.body for one in sent]


def test_everything_is_empty_before_the_first_postback(client: Client) -> None:
    assert client.get("/v1/messages").json == {"messages": [], "next_cursor": None}
    assert client.get("/v1/dead").json == {"dead": [], "next_cursor": None}
    assert client.get("/v1/audit").json["balanced"] is True


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"q": "77"}, ["n1"]),
        ({"q": "order 2/ü+="}, ["d2"]),
        ({"q": "d\0x"}, ["d\0x"]),
        ({"dispatch_id": "d1"}, ["d1"]),
        ({"external_send_id": "order 2/ü+="}, ["d2"]),
        ({"source": "nrs", "status": "bounced"}, ["n1"]),
        ({"campaign_id": "c1", "outcome": "failed"}, ["d2"]),
        ({"outcome": "pending"}, ["d\0x", "d1"]),
        ({"status": "clicked"}, []),
    ],
)
def test_messages_are_found(plant: Plant, client: Client, asked: dict[str, str], expected: list[str]) -> None:
    plant.fold(
        braze("d1", "sent", campaign_api_id="c1"),
        braze("d2", "bounced", external_send_id="order 2/ü+=", campaign_api_id="c1"),
        nrs("id=n1&channel=mailing&event=hard_bounced&contactId=77&campaignId=9"),
        braze("d\0x", "sent"),
    )

    found = client.get("/v1/messages", asked).json["messages"]

    assert [message["dispatch_id"] for message in found] == expected


@pytest.mark.parametrize(
    ("asked", "count"),
    [({"reason": "invalid_json"}, 2), ({"source": "nrs"}, 1), ({"open": "true"}, 3), ({"open": "false"}, 3)],
)
def test_dead_letters_are_found(plant: Plant, client: Client, asked: dict[str, str], count: int) -> None:
    plant.fold(Sent(b"no json"), Sent(b"neither"), nrs("id=x1&channel=sms"))

    assert len(client.get("/v1/dead", asked).json["dead"]) == count


@pytest.mark.parametrize("limit", [1, 4, 9, 10, 11])
def test_pages_are_complete_and_without_repeats_while_more_comes_in(plant: Plant, client: Client, limit: int) -> None:
    plant.fold(*(braze(f"d{number}", "bounced") for number in range(10)), *[Sent(b"no json")] * 10)
    there = client.get("/v1/dead").json["dead"]

    messages = [
        item["dispatch_id"] for page in pages(client, "/v1/messages", plant=plant, limit=limit) for item in page
    ]
    dead = [item for page in pages(client, "/v1/dead", plant=plant, limit=limit) for item in page]

    assert messages == [f"d{number}" for number in reversed(range(10))]
    assert dead[-10:] == there
    assert len({letter["dead_id"] for letter in dead}) == len(dead)


def test_a_list_has_a_hundred_items_unless_asked_otherwise(plant: Plant, client: Client) -> None:
    plant.fold(*(braze(f"d{number}", "sent") for number in range(101)))

    assert [len(page) for page in pages(client, "/v1/messages")] == [100, 1]
    assert [len(page) for page in pages(client, "/v1/messages", limit=1000)] == [101]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/x", "/v1/dead", "/v1/audit", "/"])
def test_tables_that_cannot_be_read_are_503_and_say_when_to_come_again(plant: Plant, client: Client, path: str) -> None:
    plant.paths.tables.write_bytes(b"this is no database" * 100)

    refused = client.get(path)

    assert refused.error == (503, "unreadable")
    assert refused.headers["retry-after"] == "10"


def test_a_fault_of_ours_is_500_in_the_same_shape_and_says_nothing_of_it(
    plant: Plant, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(plant.reader, "messages", fail)

    refused = client.get("/v1/messages")

    assert refused.error == (500, "internal")
    assert b"secret" not in refused.body
    assert refused.headers["cache-control"] == "no-store"
