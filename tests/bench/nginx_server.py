"""nginx that answers 200 to everything, one worker, started and ended here: about the least HTTP can cost."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.machine import children
from tests.bench.processes import BenchError
from tests.kafka.local_kafka import free_ports

_START_S: Final = 10.0
_LOOK_S: Final = 0.02
_KINDS: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_SETTINGS: Final = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  {temporary}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200; }}
  }}
}}
"""


class Nginx(NamedTuple):
    """Where it listens, and the process that answers."""

    port: int
    pid: int


def is_installed() -> bool:
    """Whether there is a program of that name."""
    return shutil.which("nginx") is not None


@contextmanager
def nginx(directory: Path) -> Iterator[Nginx]:
    """For the length of the block; files in `directory`, which is made. Raises `BenchError`."""
    directory.mkdir()
    (port,) = free_ports(1)
    temporary = " ".join(f"{kind}_temp_path {directory / kind};" for kind in _KINDS)
    config = directory / "nginx.conf"
    config.write_text(_SETTINGS.format(directory=directory, temporary=temporary, port=port), encoding="utf-8")
    log = directory / "error.log"
    with subprocess.Popen(["nginx", "-p", str(directory), "-c", str(config), "-e", str(log)]) as process:
        try:
            until_it_listens(process, port, log)
            (worker,) = children(process.pid)
            yield Nginx(port, worker)
        finally:
            process.terminate()


def until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Raises `BenchError` with its log if it ends, or does not within 10 s."""
    deadline_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(_LOOK_S)
        else:
            return
    raise BenchError(
        f"{log.parent.name} does not listen; it says: {log.read_text(encoding='utf-8') if log.exists() else ''}"
    )
