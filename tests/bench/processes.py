"""Processes of ours that tell what they do in lines of JSON: started, told to begin, stopped, never left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import orjson

from tests.bench.load_client import Load, Outcome

_STOP_S: Final = 20.0
_ANSWER_S: Final = 120.0


class BenchError(Exception):
    """A benchmark that could not be made, or whose result would be worth nothing; one line."""


class Helper:
    """`python -m MODULE ARGUMENT`, which prints lines of JSON and reads lines that tell it to go on."""

    def __init__(self, module: str, argument: object, python: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [python, "-m", module, orjson.dumps(argument).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def told(self) -> dict[str, object]:
        """The next line it prints. Raises `BenchError` if it ends instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._module} ended with {self._process.wait(_STOP_S)}; its words are above")
        found: dict[str, object] = orjson.loads(line)
        return found

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self._process.terminate()
        return self._process.wait(_STOP_S)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def helper(module: str, argument: object, *, python: str = sys.executable) -> Iterator[Helper]:
    """A helper that does not outlive the block."""
    started = Helper(module, argument, python)
    try:
        yield started
    finally:
        started.end()


def send(load: Load, *, beside: Callable[[], None] = lambda: None) -> Outcome:
    """Send a load from a process of its own; `beside` is called as it begins. Raises `BenchError`."""
    with helper("tests.bench.load_client", load) as client:
        client.told()
        client.go()
        beside()
        outcome = Outcome(**client.told())  # type: ignore[arg-type]  # it wrote an Outcome's own fields
    if outcome.refused:
        raise BenchError(f"answers other than 200 under load: {outcome.answers}")
    return outcome
