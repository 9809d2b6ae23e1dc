"""`sendtrace up` as a process of its own, on free ports, and a plain client for it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "sendtrace", "up")
_WITHIN_S = 10


class Up:
    """One running `sendtrace up`."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        config = directory / "sendtrace.toml"
        self.process = subprocess.Popen(
            [*COMMAND, "--config", str(config), "--data", str(directory / "data"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        words = [word.removeprefix("http://") for word in self.ready.split() if word.startswith("http://")]
        self.gateway, self.admin = words or ("", "")
        self.errors = ""

    def ask(self, path: str) -> Any:  # noqa: ANN401 (JSON: whatever the path answers)
        return json.loads(request(self.admin, "GET", path)[1])

    def post(self, path: str, body: object, **headers: str) -> int:
        """Post bytes as they are, anything else as JSON; the answer's code."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return request(self.gateway, "POST", path, content, named)[0]

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        self.errors += self.process.communicate(timeout=10)[1]
        return self.process.returncode

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.ended()


def request(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    with closing(HTTPConnection(address, timeout=5)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def eventually(up: Up, path: str, key: str, value: object) -> Any:  # noqa: ANN401 (as `ask`)
    until_s = time.monotonic() + _WITHIN_S
    while (found := up.ask(path))[key] != value and time.monotonic() < until_s:
        time.sleep(0.02)
    assert found[key] == value
    return found
