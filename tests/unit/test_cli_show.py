"""`sendtrace show`: the right message for every id, for people and for machines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import decode
from schemas.identity import message_id
from schemas.records import MessageDetail
from tests.integration.read_rig import Plant, Sent, braze, nrs
from tests.unit.cli_rig import Shell


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as plant:
        yield plant


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def show(shell: Shell, identifier: str, *options: str) -> str:
    ran = shell(f"show {identifier} --data . {' '.join(options)}")
    assert (ran.code, ran.err) == (0, "")
    return ran.out


@pytest.mark.parametrize("identifier", ["d1", "order-1", message_id("braze", "d1", "order-1")])
def test_a_braze_message_is_found_by_each_of_its_ids(plant: Plant, shell: Shell, identifier: str) -> None:
    plant.fold(braze("d1", "bounced", reason="550 5.1.1 No", external_send_id="order-1"), braze("d2", "sent"))
    out = show(shell, identifier)

    assert out.startswith("d1  bounced (failed)\n")
    assert "class      unknown_recipient: The receiver has no such mailbox." in out
    assert "d2" not in out


@pytest.mark.parametrize("identifier", ["n1", "8842", "31"])
def test_a_360nrs_message_is_found_by_id_contact_and_form(plant: Plant, shell: Shell, identifier: str) -> None:
    plant.fold(nrs("id=n1&channel=landing&contactId=8842&campaignId=7&formId=31&event=form_opened"))

    assert show(shell, identifier).startswith("n1  unknown (pending)\n")


def test_an_id_nobody_has_is_one_line_and_exit_code_1(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"))
    ran = shell("show 'd1\x1b' --data .")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "sendtrace: no message is known by d1\\x1b; ids are searched in full, as the provider sent them\n"
    )


def test_json_of_one_message_is_that_of_the_read_api(plant: Plant, shell: Shell) -> None:
    receipts = plant.fold(braze("d1", "sent"), braze("d1", "delivered"))
    detail = decode(MessageDetail, show(shell, "d1", "--json").encode())

    assert (detail["dispatch_id"], detail["status"]) == ("d1", "delivered")
    assert [postback["receipt_id"] for postback in detail["postbacks"]] == receipts
    assert detail["postbacks"][0]["body_base64"]


def test_json_of_several_messages_is_one_object(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent", external_send_id="order-1"), braze("d2", "sent", external_send_id="order-1"))
    told = json.loads(show(shell, "order-1", "--json"))

    assert [message["dispatch_id"] for message in told["messages"]] == ["d2", "d1"]


def test_a_few_messages_are_shown_whole_and_many_as_a_list(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent", external_send_id="order-1"), braze("d2", "sent", external_send_id="order-1"))
    assert show(shell, "order-1").count("what it did") == 2

    plant.fold(*(braze(f"d{n}", "sent", external_send_id="order-1") for n in range(3, 6)))
    out = show(shell, "order-1")

    assert "what it did" not in out
    assert out.splitlines()[-1] == "5 messages have this id; `sendtrace show MESSAGE` shows one of them."


def test_a_folded_postback_says_what_it_said(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "bounced", reason="550 No"), braze("d1", "bounced", reason="550 No"))
    *_, first, reason, again, reason_again = show(shell, "d1").splitlines()

    assert first.endswith("bounced  applied: now bounced")
    assert again.endswith("bounced  folded: nothing new")
    assert reason == reason_again == "    550 No"


def test_a_compressed_folded_postback_is_read_too(plant: Plant, shell: Shell) -> None:
    body = gzip.compress(braze("d1", "sent").body)
    plant.fold(braze("d1", "sent"), Sent(body, content_encoding="gzip"))

    assert show(shell, "d1").splitlines()[-1].endswith("sent  folded: nothing new")


def test_a_message_whose_bodies_are_gone_is_still_shown(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "sent"))
    for segment in plant.paths.raw.glob("*"):
        segment.unlink()

    assert show(shell, "d1").splitlines()[-1].split()[-4:] == ["–", "folded:", "nothing", "new"]
