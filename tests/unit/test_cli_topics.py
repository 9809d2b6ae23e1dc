"""`sendtrace topics` and `sendtrace check` without a broker that answers: one line, soon, and what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sendtrace import kafka_admin
from tests.unit.cli_rig import Shell

PATIENCE_S = 10.0


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SENDTRACE_KAFKA", raising=False)  # the tests may themselves have been given a broker
    shell = Shell(tmp_path, capsys)
    shell("init")
    return shell


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that takes connections and never says a word, as a stopped broker does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def no_kafka() -> Iterator[str]:
    """Something that is no broker, and answers like a web server."""
    with ExitStack() as open_until_the_end, socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            open_until_the_end.enter_context(connection).sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        answering.join()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, a tenth as long."""
    assert (kafka_admin.DEADLINE_S, kafka_admin._REQUEST_S) == (10, 4)
    monkeypatch.setattr(kafka_admin, "DEADLINE_S", 1.0)
    monkeypatch.setattr(kafka_admin, "_REQUEST_S", 0.4)


def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("command", ["topics create", "topics show"])
def test_without_brokers_the_key_and_the_variable_are_named(shell: Shell, command: str) -> None:
    ran = shell(command)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "sendtrace: sendtrace.toml: kafka.bootstrap_servers: is empty, expected the host:port of a broker; add it, or"
        " set SENDTRACE_KAFKA\n"
    )


def test_a_check_without_brokers_says_nothing_of_kafka(shell: Shell) -> None:
    ran = shell("check --port 0 --admin-port 0")

    assert (ran.code, "kafka" in ran.out) == (0, False)


@pytest.mark.parametrize("command", ["topics create", "topics show"])
def test_brokers_that_are_away_are_one_line_with_their_addresses(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    brokers = f"{nobody()}, {nobody()}"
    monkeypatch.setenv("SENDTRACE_KAFKA", brokers)
    ran = shell(command)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"sendtrace: {brokers}: no broker answers; start it, or correct kafka.bootstrap_servers\n"
    assert caplog.records == []  # the client's own lines would come before ours


def test_a_check_finds_brokers_that_are_away(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = nobody()
    monkeypatch.setenv("SENDTRACE_KAFKA", broker)
    ran = shell("check --port 0 --admin-port 0")

    assert (ran.code, ran.err) == (2, "")
    assert (
        ran.lines[-1] == f"wrong  kafka     {broker}: no broker answers; start it, or correct kafka.bootstrap_servers"
    )


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("what", ["silent", "no_kafka"])
def test_what_does_not_answer_as_a_broker_is_given_up_in_time(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, what: str
) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA", request.getfixturevalue(what))
    began = time.monotonic()
    ran = shell("topics show")

    assert time.monotonic() - began < PATIENCE_S
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


@pytest.mark.usefixtures("hasty")
def test_many_silent_addresses_take_no_longer(shell: Shell, monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA", ",".join([silent] * 5))
    began = time.monotonic()
    ran = shell("topics show")

    assert time.monotonic() - began < PATIENCE_S
    assert "no answer within 1 s" in ran.err


def test_a_name_nobody_knows_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA", "nobody.invalid:9092")

    assert shell("topics show").err == (
        "sendtrace: nobody.invalid:9092: no broker answers; start it, or correct kafka.bootstrap_servers\n"
    )


def test_the_program_starts_without_loading_a_client_of_kafka() -> None:
    """Loading it takes a while that `sendtrace show` has no use for."""
    program = "import sys, sendtrace.cli; sys.exit('aiokafka' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
