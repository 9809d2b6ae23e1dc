"""`sendtrace up` as its user meets it: ready, kept, found again after a restart, one line for every mistake."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.up_rig import COMMAND, Up, eventually

BOUNCE = {"dispatch_id": "d1", "status": "bounced", "metadata": {"reason": "550 5.1.1 gone", "external_send_id": "o1"}}


def test_a_posted_bounce_is_found_with_its_reason_and_its_bytes(running: Up, paths: dict[str, str]) -> None:
    assert running.post(paths["braze"], BOUNCE) == 200
    eventually(running, "/v1/audit", "applied", 1)

    (message,) = running.ask("/v1/messages?q=o1")["messages"]
    detail = running.ask(f"/v1/messages/{message['message_id']}")

    assert (message["status"], message["outcome"], message["bounce_class"]) == (
        "bounced",
        "failed",
        "unknown_recipient",
    )
    assert [receipt["effect"] for receipt in detail["postbacks"]] == ["applied"]
    assert detail["status"] == "bounced"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_state_survives_a_restart(
    tmp_path: Path, running: Up, paths: dict[str, str], number: int
) -> None:
    assert running.post(paths["braze"], BOUNCE) == 200
    assert running.stop(number) == 0

    again = Up(tmp_path, "--port", "0", "--admin-port", "0")
    assert again.post(paths["braze"], BOUNCE) == 200
    found = eventually(again, "/v1/audit", "duplicates", 1)

    assert (found["accepted"], found["applied"], found["balanced"]) == (2, 1, True)
    assert again.stop() == 0


def test_a_wrong_token_is_a_404_and_kept_nowhere(running: Up, paths: dict[str, str]) -> None:
    assert running.post(paths["braze"][:-1] + "_", BOUNCE) == 404
    assert running.post("/in/nobody/x", BOUNCE) == 404

    assert running.ask("/v1/audit")["accepted"] == 0


def test_taken_ports_are_replaced_by_free_ones_and_said(tmp_path: Path, paths: dict[str, str]) -> None:
    assert paths
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = Up(tmp_path, "--port", str(port), "--admin-port", "0")
        assert up.stop() == 0
    assert f":{port}" not in up.ready
    assert f"port {port} is taken" in up.errors


def test_a_second_one_on_the_same_data_is_refused_in_one_line(tmp_path: Path, running: Up) -> None:
    assert running.ready.startswith("ready")

    second = Up(tmp_path, "--port", "0", "--admin-port", "0")

    assert second.ended() == 1
    (line,) = second.errors.splitlines()
    assert "data" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gateway]\nport = 99999\n", "gateway.port"),
        ("[gatway]\nport = 1\n", "gateway"),
        ('[classifier]\nrules = "no-such-file.toml"\n', "classifier.rules"),
        ('[admin]\nhost = "0.0.0.0"\n', "token"),
    ],
)
def test_wrong_settings_stop_the_start_with_one_line(tmp_path: Path, text: str, expected: str) -> None:
    config = tmp_path / "wrong.toml"
    digest = "ab" * 32
    config.write_text(f'{text}\n[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{digest}"]\n', encoding="utf-8")

    done = subprocess.run([*COMMAND, "--config", str(config)], capture_output=True, text=True, check=False, timeout=20)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(config) in line
    assert expected in line


def test_a_rules_file_that_cannot_be_used_stops_the_start(tmp_path: Path, paths: dict[str, str]) -> None:
    assert paths
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nid = "x"\nclass = "no_such_class"\ntext = "y"\n', encoding="utf-8")

    done = subprocess.run(
        [*COMMAND, "--config", str(tmp_path / "sendtrace.toml"), "--data", str(tmp_path / "data")],
        env={**os.environ, "SENDTRACE_CLASSIFIER__RULES": str(rules)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(rules) in line
