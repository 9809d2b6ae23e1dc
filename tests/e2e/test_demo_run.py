"""`sendtrace demo` for real: what a newcomer sees within a minute, twice in a row, and a clean end."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.program import environment, running
from tests.e2e.up_rig import request

FREE_PORTS = ("--port", "0", "--admin-port", "0")


def demo(*options: str) -> list[str]:
    return ["demo", *FREE_PORTS, "--rate", "20", *options]


def test_a_delivery_a_bounce_and_an_abort_are_shown_with_their_reasons(tmp_path: Path) -> None:
    began_s = time.monotonic()
    with running(*demo(), cwd=tmp_path, env=environment()) as program:
        program.wait_for("ready  http://127.0.0.1:")
        missing = {"delivered", "bounced", "aborted"}
        while missing:
            missing.discard(program.wait_for("first ", within_s=60).split()[1].rstrip(":"))
        shown_s = time.monotonic() - began_s
        code = program.interrupt()

    told = {line.split()[1].rstrip(":"): line for line in program.lines if line.startswith("first ")}
    assert shown_s < 60
    assert re.search(r"\S+  \S.*\((?!abort)\w+\)$", told["bounced"])
    assert re.search(r"\S+  \S.*\(abort_\w+\)$", told["aborted"])
    assert (code, program.errors) == (0, [])
    assert any(line.startswith("balanced: ") for line in program.lines)


def test_it_stops_by_itself_and_starts_again_from_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        began_s = time.monotonic()
        with running(*demo("--seconds", "3"), cwd=tmp_path, env=environment()) as program:
            program.wait_for("ready")
            ready_s = time.monotonic() - began_s
            assert program.end() == 0
        accepted = next(int(line.split()[1]) for line in program.lines if line.startswith("balanced: "))

        assert ready_s < 10
        assert 0 < accepted < 500  # of this run alone


def test_its_messages_can_be_shown_afterwards_as_it_says(tmp_path: Path) -> None:
    with running(*demo("--seconds", "5"), cwd=tmp_path, env=environment()) as program:
        assert program.end() == 0
    hint = next(line for line in program.lines if " show " in line).split()
    with running(*hint[hint.index("show") :], "--json", cwd=tmp_path, env=environment()) as shown:
        assert shown.end() == 0

    assert json.loads(shown.lines[0])["facts"]


def test_the_page_and_the_api_answer_where_it_says(tmp_path: Path) -> None:
    with running(*demo(), cwd=tmp_path, env=environment()) as program:
        admin = program.wait_for("ready").split()[3].removeprefix("http://")
        program.wait_for("first delivered")
        code, found = request(admin, "GET", "/v1/messages?status=delivered")
        page_code, page = request(admin, "GET", "/")

        assert (code, page_code) == (200, 200)
        assert json.loads(found)["messages"][0]["outcome"] == "delivered"
        assert b"<html" in page
        assert program.interrupt(signal.SIGTERM) == 0


def test_ports_that_are_taken_are_replaced_and_said(tmp_path: Path) -> None:
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    with running(*demo(), cwd=tmp_path / "one", env=environment()) as first:
        port = first.wait_for("ready").split()[1].rpartition(":")[2]
        options = ("demo", "--port", port, "--admin-port", "0", "--seconds", "1")
        with running(*options, cwd=tmp_path / "two", env=environment()) as second:
            told = second.wait_for("is taken, using")
            assert second.end() == 0
        first.interrupt()

    assert f"gateway: port {port} is taken" in told


def test_a_directory_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with running(*demo("--data", "."), cwd=tmp_path, env=environment()) as program:
        assert program.end() == 1

    assert program.errors == ["sendtrace: .: holds something that no demo made; name another directory with --data"]


@pytest.mark.parametrize("no_color", [False, True])
def test_on_a_terminal_there_is_a_live_table_unless_colour_is_unwanted(tmp_path: Path, *, no_color: bool) -> None:
    screen = on_a_terminal(*demo("--seconds", "6"), cwd=tmp_path, **({"NO_COLOR": "1"} if no_color else {}))

    assert ("\x1b" in screen) != no_color
    assert ("latest reason" in screen) != no_color
    assert "balanced: " in screen
    assert "Traceback" not in screen


def on_a_terminal(*arguments: str, cwd: Path, **more: str) -> str:
    """Everything a command writes to a terminal of 100 columns until it ends well."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sendtrace", *arguments],
        cwd=cwd,
        env=environment(TERM="xterm-256color", COLUMNS="100", LINES="40", **more),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    try:
        while select.select([master], [], [], 30)[0]:
            try:
                written += os.read(master, 65_536)
            except OSError:  # the other end is closed
                break
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return written.decode()
