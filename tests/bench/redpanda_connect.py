"""Redpanda Connect as a gateway to Kafka: built from its Go module when first asked for, started and ended here.

The settings are the fastest of those tried: its `kafka` output, four batches of up to 64 in flight, sent after a
millisecond. It is not idempotent so: with that it refuses to start. Its HTTP input answers 200 once acks=all came.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.nginx_server import until_it_listens
from tests.bench.peer_environment import peers_directory, run_or_fail
from tests.kafka.local_kafka import free_ports

VERSION: Final = "4.102.0"
_BENTHOS: Final = "4.76.0"  # released together
_MODULE: Final = f"""\
module peer

go 1.26

require (
	github.com/redpanda-data/connect/v4 v{VERSION}
	github.com/redpanda-data/benthos/v4 v{_BENTHOS}
)
"""
#: What is on the way of a request is as in the full distribution; what is not, is left out.
_PROGRAM: Final = """\
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/kafka"
)

func main() { service.RunCLI(context.Background()) }
"""
_SETTINGS: Final = """\
http: {{ enabled: false }}
logger: {{ level: WARN }}
input:
  http_server: {{ address: "127.0.0.1:{port}", path: "{path}", allowed_verbs: [POST] }}
output:
  kafka:
    addresses: ["{address}"]
    topic: "{topic}"
    ack_replicas: true
    max_in_flight: 4
    batching: {{ count: 64, period: 1ms }}
"""


class Connect(NamedTuple):
    """Where it listens, and its process."""

    port: int
    pid: int


def can_be_built() -> bool:
    """Whether there is a Go."""
    return shutil.which("go") is not None


def program() -> Path:
    """Built, if it was not. Raises `BenchError`."""
    directory = peers_directory() / f"redpanda-connect-{VERSION}"
    built = directory / "connect"
    if not built.exists():
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "go.mod").write_text(_MODULE, encoding="utf-8")
        (directory / "main.go").write_text(_PROGRAM, encoding="utf-8")
        run_or_fail("go", "-C", str(directory), "mod", "tidy")
        run_or_fail("go", "-C", str(directory), "build", "-o", built.name, ".")
    return built


@contextmanager
def redpanda_connect(directory: Path, *, address: str, topic: str, path: str) -> Iterator[Connect]:
    """For the length of the block; files in `directory`, which is made. Raises `BenchError`."""
    built = program()
    directory.mkdir()
    (port,) = free_ports(1)
    config, log = directory / "connect.yaml", directory / "error.log"
    config.write_text(_SETTINGS.format(port=port, path=path, address=address, topic=topic), encoding="utf-8")
    with (
        log.open("wb") as said,
        subprocess.Popen([str(built), "run", str(config)], stdout=said, stderr=said) as process,
    ):
        try:
            until_it_listens(process, port, log)
            yield Connect(port, process.pid)
        finally:
            process.terminate()
