"""`sendtrace dead`: what was refused, why, its bytes, and trying it again."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.codec import check
from schemas.records import DeadLetterView
from sendtrace.commands.dead import readable
from tests.integration.read_rig import Plant, Sent, braze
from tests.unit.cli_rig import Ran, Shell

BROKEN = Sent(b'{"status": \x1b[2J')
NOBODY = Sent(b'{"status": "sent"}')


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as plant:
        yield plant


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, capsys)


def misread(plant: Plant, receipt: str, body: bytes) -> None:
    """Give a dead letter the body of one that is understood, as if its reader had been mended since."""
    with sqlite3.connect(plant.paths.tables) as db:
        db.execute("UPDATE dead_letters SET body = ? WHERE receipt_id = ?", (body, receipt))
    db.close()


def dead(shell: Shell, command: str) -> Ran:
    return shell(f"dead {command} --data .")


def test_the_list_gives_id_reason_and_detail_and_what_to_do(plant: Plant, shell: Shell) -> None:
    first, _, third = plant.fold(BROKEN, braze("d1", "sent"), NOBODY)
    ran = dead(shell, "list")

    assert ran.lines[0] == f"{third}  2020-09-01 00:00  braze  no_identity"
    assert ran.lines[1].startswith("    Both dispatch_id and metadata.external_send_id are missing")
    assert ran.lines[2] == f"{first}  2020-09-01 00:00  braze  invalid_json"
    assert ran.lines[-1].startswith("1 invalid_json: The body is not JSON")


def test_the_list_can_be_narrowed(plant: Plant, shell: Shell) -> None:
    plant.fold(BROKEN, NOBODY, Sent(b"", source="other"))

    assert "no_identity" not in dead(shell, "list --reason invalid_json").out
    assert "invalid_json" not in dead(shell, "list --source other").out


def test_a_full_list_says_that_there_is_more(plant: Plant, shell: Shell) -> None:
    plant.fold(BROKEN, NOBODY)

    assert "… and older ones; these are the newest 1" in dead(shell, "list --limit 1").lines


def test_the_list_for_machines_is_that_of_the_read_api(plant: Plant, shell: Shell) -> None:
    plant.fold(BROKEN)
    told = json.loads(dead(shell, "list --json").out)

    assert b64decode(check(DeadLetterView, told["dead"][0])["body_base64"]) == BROKEN.body
    assert told["next_cursor"] is None


def test_an_empty_list_says_so(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"))

    assert dead(shell, "list").out == "nothing: every body was understood\n"


def test_one_is_shown_with_its_body_made_harmless(plant: Plant, shell: Shell) -> None:
    (receipt,) = plant.fold(BROKEN)
    ran = dead(shell, f"show {receipt}")

    assert ran.code == 0
    assert "reason       invalid_json, at normalize" in ran.lines
    assert ran.lines[-1] == r'{"status": \x1b[2J'


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"a=1\r\nb=\xc3\xb1", ["a=1", "b=ñ"]),
        (b"\x1f\x8b\x08\xff", [r"\x1f\x8b\x08\xff"]),
        (b"", []),
        (b"x" + "ñ".encode() * 70_000, ["x" + "ñ" * 65_535, "… 4,465 more characters; --json has them all"]),
    ],
)
def test_bytes_are_shown_as_text_where_they_are_and_escaped_where_not(body: bytes, lines: list[str]) -> None:
    assert readable(body) == lines


def test_a_retry_after_a_fix_applies_it_once(plant: Plant, shell: Shell) -> None:
    receipt, _ = plant.fold(BROKEN, NOBODY)
    misread(plant, receipt, braze("d1", "sent").body)
    ran = dead(shell, f"retry {receipt}")

    assert (ran.code, ran.out) == (0, "1 applied\n")
    assert plant.reader.counts_by_status() == {"sent": 1}
    assert shell("audit --data .").code == 0
    assert dead(shell, f"retry {receipt}").err == f"sendtrace: {receipt} was applied by a retry already\n"


def test_a_retry_that_is_refused_again_ends_with_1(plant: Plant, shell: Shell) -> None:
    receipt, _ = plant.fold(BROKEN, NOBODY)
    misread(plant, receipt, braze("d1", "sent").body)
    ran = dead(shell, "retry --all")

    assert (ran.code, ran.out) == (1, "1 applied, 1 refused again, `sendtrace dead list` says why\n")


def test_a_retry_by_reason_leaves_the_others(plant: Plant, shell: Shell) -> None:
    _, nobody = plant.fold(BROKEN, NOBODY)
    misread(plant, nobody, braze("d1", "sent").body)

    assert dead(shell, "retry --reason no_identity").out == "1 applied\n"
    assert "invalid_json" in dead(shell, "list").out


def test_nothing_to_retry_is_no_trouble(plant: Plant, shell: Shell) -> None:
    plant.fold(braze("d1", "sent"))

    assert dead(shell, "retry --all")[:2] == (0, "nothing to retry\n")


@pytest.mark.parametrize("command", ["retry", "retry some --all", "retry --all --reason no_identity"])
def test_a_retry_names_exactly_one_choice(plant: Plant, shell: Shell, command: str) -> None:
    plant.fold(BROKEN)

    assert dead(shell, command).code == 2


@pytest.mark.parametrize("command", ["show nobody", "retry nobody"])
def test_a_letter_that_is_not_there_is_one_line(plant: Plant, shell: Shell, command: str) -> None:
    plant.fold(BROKEN)
    ran = dead(shell, command)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "sendtrace: there is no dead letter nobody; `sendtrace dead list` shows them\n"


@pytest.mark.parametrize("command", ["list", "retry"])
def test_a_misspelt_reason_is_refused_with_the_nearest(plant: Plant, shell: Shell, command: str) -> None:
    plant.fold(BROKEN)
    ran = dead(shell, f"{command} --reason invalid_jsn")

    assert ran.code == 2
    assert "did you mean invalid_json?" in ran.err
