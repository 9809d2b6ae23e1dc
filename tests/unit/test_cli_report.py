"""`sendtrace report` on a real data directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.read_rig import Plant, Sent, braze, nrs
from tests.unit.cli_rig import Shell

#: The rig receives everything in the night to 2020-09-01.
SINCE = "--since 2020-08-31"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    with Plant(tmp_path) as plant:
        plant.fold(
            braze("d1", "delivered"),
            braze("d2", "bounced", reason="550 5.1.1 <ann@example.com> unknown"),
            braze("d3", "sent"),
            nrs("id=1&channel=sms&event=sent"),
            Sent(b"{no json"),
        )
    return Shell(tmp_path, capsys)


def test_it_tells_what_became_of_the_messages(shell: Shell) -> None:
    ran = shell(f"report --data . {SINCE}")

    assert (ran.code, ran.err) == (0, "")
    assert "with nothing to compare with" in ran.lines[0]
    assert any(line.split()[:4] == ["braze", "email", "3", "50.0"] for line in ran.lines)
    assert "ann@example.com" not in ran.out
    assert ran.lines[-1] == "balanced: 5 accepted = 4 applied + 0 duplicates + 1 dead + 0 pending"


def test_json_has_the_same_figures(shell: Shell) -> None:
    found = json.loads(shell(f"report --data . {SINCE} --json").out)

    assert found["now"]["messages"] == 4
    assert (found["now"]["delivery_rate"], found["now"]["bounce_rate"]) == (0.5, 0.5)
    assert [one["bounce_class"] for one in found["failure_classes"]] == ["unknown_recipient"]
    assert found["audit_balanced"] is True


def test_a_page_is_written_whole_over_the_one_before(shell: Shell) -> None:
    Path("day.html").write_text("yesterday's")
    ran = shell(f"report --data . {SINCE} --html day.html")

    assert (ran.code, ran.lines) == (0, ["written  day.html"])
    assert Path("day.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in Path().glob("*.part")] == []


def test_a_page_that_cannot_be_written_is_one_line(shell: Shell) -> None:
    ran = shell(f"report --data . {SINCE} --html missing/day.html")

    assert (ran.code, ran.err) == (1, "sendtrace: missing/day.html.part: No such file or directory\n")


def test_an_empty_period_says_so_and_is_no_trouble(shell: Shell) -> None:
    ran = shell("report --data .")

    assert ran.code == 0
    assert "the newest message is of 2020-09-01 00:00, a longer --since shows it" in ran.out


def test_an_account_that_cannot_be_made_is_said_and_the_rest_told(shell: Shell, tmp_path: Path) -> None:
    for segment in (tmp_path / "raw").iterdir():
        segment.write_bytes(b"\xff" * 100)
    ran = shell(f"report --data . {SINCE}")

    assert ran.code == 0
    assert "By source and channel" in ran.out
