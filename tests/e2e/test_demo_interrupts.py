"""Ctrl-C and closed pipes: every command that runs on ends cleanly, with the exit code it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.program import environment, running

FREE_PORTS = ("--port", "0", "--admin-port", "0")


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("demo")
    with running("demo", *FREE_PORTS, "--seconds", "2", "--rate", "20", cwd=directory, env=environment()) as program:
        assert program.end() == 0
    return directory / "demo-data"


def test_tail_ends_with_130(demo_data: Path) -> None:
    options = ("tail", "--from-start", "--data", str(demo_data))
    with running(*options, cwd=demo_data, env=environment()) as program:
        program.wait_for("new → sent")
        code = program.interrupt()

    assert (code, program.errors) == (130, [])


def test_a_tail_that_nobody_reads_any_more_ends_without_a_word(demo_data: Path) -> None:
    tail = subprocess.Popen(
        [sys.executable, "-m", "sendtrace", "tail", "--from-start", "--data", str(demo_data)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert tail.stdout is not None
    assert tail.stderr is not None
    try:
        tail.stdout.readline()
        tail.stdout.close()

        assert tail.wait(10) == 1
        assert tail.stderr.read() == b""
    finally:
        tail.kill()
        tail.stderr.close()
        tail.wait()


def test_up_ends_with_0(tmp_path: Path) -> None:
    with running("init", cwd=tmp_path, env=environment()) as program:
        assert program.end() == 0
    with running("up", *FREE_PORTS, cwd=tmp_path, env=environment()) as program:
        program.wait_for("ready  http://127.0.0.1:")
        code = program.interrupt()

    assert (code, program.errors) == (0, [])


def test_the_sandbox_says_what_it_did_and_ends_with_0(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/in/nrs360/token"
    with running("sandbox", "--url-nrs", nobody, "--rate", "50", cwd=tmp_path, env=environment()) as program:
        program.wait_for("posting as nrs360")
        program.wait_for("without an answer")
        code = program.interrupt()

    assert (code, program.errors) == (0, [])
    assert "given up" not in program.lines[-1]  # stopped, not given up
