"""`sendtrace alerts`: who would be told, and what comes back from a test."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.unit.cli_rig import Shell

STATUS = {"/well": 202, "/gone": 410, "/busy": 503}


class Hook(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(STATUS.get(self.path, 200))
        self.end_headers()
        self.wfile.write(b"what I say\nmore")

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    monkeypatch.chdir(tmp_path)
    here = f'schemes = ["http"]\nallow_networks = ["127.0.0.0/8"]\nsecrets = ["whsec_{"A" * 43}="]\n'
    tables = [
        f'[notifications.targets.{name}]\nkind = "webhook"\nurl = "http://127.0.0.1:{server.server_port}/{name}"\n{here}'
        for name in ("well", "gone", "busy")
    ]
    inside = '[notifications.targets.inside]\nkind = "alertmanager"\nurl = "https://localhost:1"\n'
    when = '[notifications.targets.inside.when]\nseverity = "error"\nclasses = ["block_list"]\n'
    Path("sendtrace.toml").write_text("".join((*tables, inside, when)))
    yield Shell(tmp_path, capsys)
    server.shutdown()
    serving.join()
    server.server_close()


def test_targets_are_listed_without_their_secrets(shell: Shell) -> None:
    ran = shell("alerts targets")

    assert ran.code == 0
    assert [line.split() for line in ran.lines[1:2]] == [["well", "webhook", "127.0.0.1", "all", "incidents"]]
    assert "error and worse, class block_list" in ran.lines[4]
    assert "/well" not in ran.out


@pytest.mark.parametrize(
    ("target", "code", "lines"),
    [
        ("well", 0, [r"well: opened taken after \d+\.\d\d s: 202 what I say"]),
        ("gone", 1, ["gone: opened NOT TAKEN after .* s: 410 what I say", "it would be parked at once"]),
        ("busy", 1, ["busy: opened NOT TAKEN after .* s: 503 what I say", "it would be tried again"]),
        (
            "inside",
            1,
            [
                r"inside: opened NOT TAKEN after .*: \S+ is not an address for everybody \(this machine\); .*",
                "it would be parked at once",
            ],
        ),
    ],
)
def test_a_test_prints_what_came_back(shell: Shell, target: str, code: int, lines: list[str]) -> None:
    ran = shell(f"alerts test {target}")

    assert (ran.code, ran.err) == (code, "")
    assert len(ran.lines) == len(lines)
    for line, expected in zip(ran.lines, lines, strict=True):
        assert re.fullmatch(expected, line)


def test_an_unknown_target_is_told_those_there_are(shell: Shell) -> None:
    ran = shell("alerts test opps")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        "sendtrace: Invalid value: there is no target 'opps'; there are busy, gone, inside, well;"
    )


def test_without_targets_it_is_told_where_to_begin(shell: Shell) -> None:
    Path("sendtrace.toml").write_text("")

    assert shell("alerts targets").lines == [
        "none: nobody is told of incidents; docs/notifications.md shows how to add a target"
    ]
    assert "add a table [notifications.targets.NAME]" in shell("alerts test ops").err
    assert "notifications.targets is empty" in shell("sink notifications").err
