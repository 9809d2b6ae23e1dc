"""The issue's bad input over HTTP: answered 200 and kept, understood or put aside with a reason and the exact bytes."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from typing import NamedTuple

from tests.e2e.up_rig import Up, eventually

DEEP = b'{"a":' * 500 + b"1" + b"}" * 500


class Refused(NamedTuple):
    """A body, and the reason word of its dead letter."""

    body: bytes
    reason: str


REFUSED = [
    Refused(b"", "empty_body"),
    Refused(b"not json", "invalid_json"),
    Refused("{ “dispatch_id”: “acf471119f7449d579e8089032003ded” }".encode(), "invalid_json"),  # the seed
    Refused(b'{"dispatch_id": NaN, "status": "sent"}', "invalid_json"),
    Refused(b'{"dispatch_id": "\\ud800", "status": "sent"}', "invalid_json"),
    Refused(DEEP, "too_deep"),
    Refused(b'[{"dispatch_id": "a", "status": "sent"}]', "not_an_object"),
    Refused(b'{"dispatch_id": "a", "dispatch_id": "b", "status": "sent"}', "duplicate_keys"),
    Refused(b'{"dispatch_id": ["a"], "status": "sent"}', "wrong_type"),
    Refused(b'{"dispatch_id": "a", "status": {"x": 1}}', "wrong_type"),
    Refused(b'{"status": "sent", "metadata": {}}', "no_identity"),
    Refused(b'{"dispatch_id": "a"}', "no_status"),
    Refused(b'{"events": [{"id": "1", "event_type": "users.messages.email.Delivery"}]}', "other_feed"),
]

UNDERSTOOD = [
    b'{"dispatch_id": "u1", "status": "quarantined"}',
    b'{"status": "sent", "metadata": {"external_send_id": "u2"}}',
    b'{"dispatch_id": "u3", "status": "sent", "new_field": {"x": [1]}}',
    b'{"dispatch_id": "u4", "status": "sent", "metadata": {"sent_at": "yesterday"}}',
    b'{"dispatch_id": "u5\\u0000", "status": "sent"}',
    b'{"dispatch_id": 12345678901234567890123, "status": "sent"}',
]


def test_whatever_the_body_says_it_is_answered_200_and_accounted_for(running: Up, paths: dict[str, str]) -> None:
    codes = [running.post(paths["braze"], body) for body in [*UNDERSTOOD, *(refused.body for refused in REFUSED)]]

    assert set(codes) == {200}
    account = eventually(running, "/v1/audit", "pending", 0)
    assert (account["applied"], account["dead"], account["balanced"]) == (len(UNDERSTOOD), len(REFUSED), True)
    dead = running.ask("/v1/dead")["dead"]
    assert [(b64decode(d["body_base64"]), d["reason"]) for d in reversed(dead)] == REFUSED
    assert all(d["detail"].endswith(".") and len(d["detail"]) > 20 for d in dead)


def test_what_is_odd_is_found_as_it_was_sent(running: Up, paths: dict[str, str]) -> None:
    for body in UNDERSTOOD:
        running.post(paths["braze"], body)
    eventually(running, "/v1/audit", "applied", len(UNDERSTOOD))

    (number,) = running.ask("/v1/messages?q=12345678901234567890123")["messages"]
    (unknown,) = running.ask("/v1/messages?status=unknown")["messages"]
    (timeless,) = running.ask("/v1/messages?dispatch_id=u4")["messages"]
    (nul,) = running.ask("/v1/messages?dispatch_id=u5%00")["messages"]

    assert number["dispatch_id"] == "12345678901234567890123"
    assert (unknown["facts"][0]["provider_status"], unknown["outcome"]) == ("quarantined", "pending")
    assert (timeless["status"], timeless["sent_at"]) == ("sent", None)
    assert nul["dispatch_id"] == "u5\x00"


def test_a_gzip_body_is_kept_as_sent_and_read(running: Up, paths: dict[str, str]) -> None:
    packed = gzip.compress(json.dumps({"dispatch_id": "z1", "status": "sent"}).encode())
    bomb = gzip.compress(b" " * 50_000_000)

    assert running.post(paths["braze"], packed, Content_Encoding="gzip") == 200
    assert running.post(paths["braze"], bomb, Content_Encoding="gzip") == 200

    eventually(running, "/v1/audit", "pending", 0)
    (message,) = running.ask("/v1/messages?q=z1")["messages"]
    (receipt,) = running.ask(f"/v1/messages/{message['message_id']}")["postbacks"]
    assert b64decode(receipt["body_base64"]) == packed
    assert [dead["reason"] for dead in running.ask("/v1/dead")["dead"]] == ["inflated_too_large"]


def test_a_form_and_json_of_360nrs_are_kept_alike(running: Up, paths: dict[str, str]) -> None:
    form = b"id=n1&channel=sms&contactId=7&campaignId=0&campaignName=&event=delivered"
    as_json = json.dumps({"id": "n1", "channel": "sms", "contactId": 7, "campaignId": 0, "event": "delivered"}).encode()

    assert running.post(paths["nrs360"], form, Content_Type="application/x-www-form-urlencoded; charset=utf-8") == 200
    assert running.post(paths["nrs360"], as_json, Content_Type="text/plain") == 200

    account = eventually(running, "/v1/audit", "pending", 0)
    assert (account["applied"], account["duplicates"]) == (1, 1)
    assert [m["dispatch_id"] for m in running.ask("/v1/messages?q=7")["messages"]] == ["n1"]


def test_too_large_is_refused_counted_and_kept_nowhere(running: Up, paths: dict[str, str]) -> None:
    assert running.post(paths["braze"], b" " * (512 * 1024)) == 200
    assert running.post(paths["braze"], b" " * (512 * 1024 + 1)) == 413

    assert running.ask("/v1/audit")["accepted"] == 1
