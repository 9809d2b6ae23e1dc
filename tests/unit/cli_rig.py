"""What the tests of the command line share: running a command in this process, and data to run it on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from sendtrace.cli import run


class Ran(NamedTuple):
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output by line."""
        return self.out.splitlines()


class Shell:
    """Runs commands in one directory, without a terminal."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def __call__(self, command: str) -> Ran:
        """`show acf4 --json`: the words after `sendtrace`."""
        self._capsys.readouterr()
        code = run(shlex.split(command))
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)
