"""One broker's process, known by an id that a file recorded and that may long belong to somebody else.

It is ours if its command line names this broker's configuration file, which no other process has a reason to. One
that has ended and was not yet collected has no command line, so it counts as gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

_PAUSE_S = 0.05


class BrokerProcess:
    """The process of the broker whose configuration is `config`; `pid` is 0 before the first start."""

    def __init__(self, config: Path, pid: int = 0) -> None:
        self._config = config
        self.pid = pid
        self._child: subprocess.Popen[bytes] | None = None  # kept to be collected; an earlier program's is init's

    def start(self, command: list[str], *, log: Path) -> None:
        """Start it so that it outlives this process and does not hear its Ctrl-C; what it prints is added to `log`."""
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
            )
        self.pid = self._child.pid

    def runs(self) -> bool:
        """Whether a process of this id exists and is this broker."""
        if self._child is not None:  # while it becomes Java a child has no command line; its id is ours until collected
            return self._child.poll() is None
        return self.pid > 0 and str(self._config) in _command_line(self.pid)

    def exit_code(self, *, within_s: float) -> int | None:
        """What a process started from here ended with; `None`, and it is killed, when it does not end in time."""
        assert self._child is not None, "not started from here"
        try:
            return self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            return None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens if it is gone, or no longer ours."""
        if self.runs():
            os.kill(self.pid, number)

    def wait_until_gone(self, *, within_s: float) -> bool:
        """Whether it is gone within that time."""
        deadline_s = time.monotonic() + within_s
        while self.runs():
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(_PAUSE_S)
        return True


def _command_line(pid: int) -> str:
    """Its words, parted by blanks or zeros; empty if there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    # macOS has no /proc.
    asked = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout
