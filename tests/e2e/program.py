"""The real program as a process of its own: started, waited for line by line, interrupted, ended."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 30.0


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of sendtrace, and with our packages."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("SENDTRACE_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


class Program:
    """A running command. Its standard output can be waited for; standard error is kept."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(process.stdout,)),
            threading.Thread(target=self._read_errors, args=(process.stderr,)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._arriving.put(line.rstrip("\n"))
        self._arriving.put(None)

    def _read_errors(self, stream: IO[str]) -> None:
        self.errors.extend(line.rstrip("\n") for line in stream)

    def wait_for(self, part: str, *, within_s: float = PATIENCE_S) -> str:
        """The next line that holds `part`; fails when the output ends or the time is over."""
        deadline = time.monotonic() + within_s
        while True:
            line = self._next(max(0.0, deadline - time.monotonic()))
            assert line is not None, f"no line with {part!r} in {self.lines}; errors {self.errors}"
            if part in line:
                return line

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal to the process and return its exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self, *, within_s: float = PATIENCE_S) -> int:
        """Wait for its end; everything it printed is in `lines` and `errors` then."""
        code = self.process.wait(within_s)
        for reader in self._readers:
            reader.join(within_s)
        while self._next(0.0) is not None:
            pass
        return code

    def _next(self, within_s: float) -> str | None:
        """The next line, taken over into `lines`; `None` when the output ended or the time is over."""
        try:
            line = self._arriving.get(timeout=within_s)
        except queue.Empty:
            return None
        if line is not None:
            self.lines.append(line)
        return line


@contextmanager
def running(
    *arguments: str, cwd: Path, program: Sequence[str] = (sys.executable, "-m", "sendtrace"), env: Mapping[str, str]
) -> Iterator[Program]:
    """`sendtrace ARGUMENTS` in `cwd`; killed at the end if it still runs."""
    process = subprocess.Popen(
        [*program, *arguments],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    running_program = Program(process)
    try:
        yield running_program
    finally:
        process.kill()  # does nothing to one that has ended
        running_program.end()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
