"""`sendtrace erase` beside a running `sendtrace up`: no byte of a recipient in the tables, nor in tables made anew."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import environment
from tests.e2e.up_rig import Up, eventually

ADDRESS = "Ann.Example@mail.example"
OTHER = "bob.example@mail.example"
REASON = f"550 5.1.1 <{ADDRESS}>: Recipient address rejected (see {OTHER})"
BOUNCE = {
    "dispatch_id": "d1",
    "status": "bounced",
    "metadata": {"reason": REASON, "external_send_id": "o1", "bounced_at": "2020-08-31T18:58:42.000+00:00"},
}
LATE = {**BOUNCE, "status": "aborted", "metadata": {"reason": f"not to {ADDRESS.upper()}", "external_send_id": "o1"}}
NAMED = {
    "dispatch_id": "d2",
    "status": "delivered",
    "recipient": {"email": ADDRESS},
    "metadata": {"ip": "203.0.113.77"},
}
FORM = {"content_type": "application/x-www-form-urlencoded"}


def sendtrace(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ["--config", str(directory / "sendtrace.toml"), "--data", str(directory / "data")]
    return subprocess.run(
        [sys.executable, "-m", "sendtrace", *arguments, *where],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        cwd=directory,
        stdin=subprocess.DEVNULL,
    )


def traces(directory: Path, *texts: str) -> list[str]:
    """The files outside of the raw log that hold one of the texts, in any case."""
    data = directory / "data"
    return [
        f"{path.name}: {text}"
        for path in sorted(data.rglob("*"))
        if path.is_file() and "raw" not in path.relative_to(data).parts
        for text in texts
        if text.lower().encode() in path.read_bytes().lower()
    ]


def post_all(up: Up, paths: dict[str, str]) -> None:
    for body in (BOUNCE, BOUNCE, NAMED, f'{{"status": "lost", "to": "{ADDRESS}"'.encode()):
        assert up.post(paths["braze"], body) == 200
    for event in ("sent", "delivered"):
        body = f"id=n1&channel=sms&event={event}&contactId=88420017&campaignId=12".encode()
        assert up.post(paths["nrs360"], body, **FORM) == 200


def erased(directory: Path, recipient: str, *more: str) -> dict[str, Any]:
    done = sendtrace(directory, "erase", recipient, "--json", *(more or ["--yes"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert recipient not in done.stdout
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # an object


def test_an_address_is_nowhere_after_it_was_erased_nor_in_tables_made_anew(
    tmp_path: Path, running: Up, paths: dict[str, str]
) -> None:
    post_all(running, paths)
    eventually(running, "/v1/audit", "pending", 0)
    before = running.ask("/v1/audit")
    assert traces(tmp_path, ADDRESS) != []
    assert traces(tmp_path, "203.0.113.77") == []  # sealed from the beginning

    dry = erased(tmp_path, ADDRESS, "--dry-run")
    assert traces(tmp_path, ADDRESS) != []
    done = erased(tmp_path, ADDRESS.upper())

    assert done["rows"].items() >= dry["rows"].items()
    expected = {"messages": 1, "transitions": 1, "dead_letters": 1, "personal_data": 2}
    assert {name: count for name, count in done["rows"].items() if "incident" not in name} == expected
    assert traces(tmp_path, ADDRESS) == []
    assert traces(tmp_path, OTHER) == ["tables.db: " + OTHER]

    assert running.post(paths["braze"], LATE) == 200  # another word on a message the processor remembers in clear
    eventually(running, "/v1/audit", "applied", before["applied"] + 1)
    assert running.stop() == 0
    assert traces(tmp_path, ADDRESS) == []

    for file in (tmp_path / "data").glob("tables.db*"):
        file.unlink()
    again = Up(tmp_path, "--port", "0", "--admin-port", "0")
    after = eventually(again, "/v1/audit", "pending", 0)
    assert traces(tmp_path, ADDRESS) == []
    assert traces(tmp_path, OTHER) != []
    assert (after["balanced"], after["accepted"]) == (True, before["accepted"] + 1)
    assert again.stop() == 0


def test_nobody_is_given_what_the_raw_log_still_holds(tmp_path: Path, running: Up, paths: dict[str, str]) -> None:
    post_all(running, paths)
    eventually(running, "/v1/audit", "pending", 0)
    erased(tmp_path, ADDRESS)

    (bounced,) = running.ask("/v1/messages?q=d1")["messages"]
    told = running.ask(f"/v1/messages/{bounced['message_id']}")
    assert [(one["body_base64"], one["flags"][-1]) for one in told["postbacks"]] == [(None, "body_erased")] * 2
    assert told["reason"] == f"550 5.1.1 <[erased]>: Recipient address rejected (see {OTHER})"
    assert [fact["reason"] for fact in told["facts"]] == [told["reason"]]
    (named,) = running.ask("/v1/messages?q=d2")["messages"]
    assert running.ask(f"/v1/messages/{named['message_id']}")["postbacks"][0]["body_base64"] is None
    (letter,) = running.ask("/v1/dead")["dead"]
    assert (letter["body_base64"], letter["reason"]) == ("", "invalid_json")
    assert "erased" in letter["detail"]
    retried = sendtrace(tmp_path, "dead", "retry", letter["dead_id"])
    assert retried.returncode == 1
    assert "its body was erased" in retried.stderr
    (kept,) = running.ask("/v1/messages?q=n1")["messages"]
    bodies = [one["body_base64"] for one in running.ask(f"/v1/messages/{kept['message_id']}")["postbacks"]]
    assert b64encode(b"id=n1&channel=sms&event=sent&contactId=88420017&campaignId=12").decode() in bodies
    shown = sendtrace(tmp_path, "show", "d1")
    assert shown.returncode == 0
    assert ADDRESS.lower() not in shown.stdout.lower()


def test_a_contact_is_found_by_nothing_any_more(tmp_path: Path, running: Up, paths: dict[str, str]) -> None:
    post_all(running, paths)
    eventually(running, "/v1/audit", "pending", 0)
    assert len(running.ask("/v1/messages?q=88420017")["messages"]) == 1

    done = erased(tmp_path, "88420017")
    body = b"id=n1&channel=sms&event=clicked&contactId=88420017&campaignId=12&ip=203.0.113.78"
    assert running.post(paths["nrs360"], body, **FORM) == 200
    eventually(running, "/v1/audit", "pending", 0)

    assert (done["messages"], done["rows"]) == (1, {"identifiers": 1, "personal_data": 1})
    assert running.ask("/v1/messages?q=88420017")["messages"] == []
    (message,) = running.ask("/v1/messages?q=n1")["messages"]
    told = running.ask(f"/v1/messages/{message['message_id']}")
    assert [one["body_base64"] for one in told["postbacks"]] == [None] * 3
    assert traces(tmp_path, "88420017") == []


@pytest.mark.parametrize("recipient", ["", " ", "a\x07b", "x" * 513])
def test_what_is_no_recipient_is_refused_and_not_repeated(tmp_path: Path, recipient: str) -> None:
    done = sendtrace(tmp_path, "erase", recipient, "--dry-run")

    assert done.returncode == 2
    assert done.stderr.startswith("sendtrace: Invalid value for RECIPIENT: expected an address, a telephone number")


def test_it_does_not_erase_without_being_told_to(tmp_path: Path, paths: dict[str, str]) -> None:
    assert paths
    done = sendtrace(tmp_path, "erase", ADDRESS)

    assert done.returncode == 2
    assert "give --yes" in done.stderr
