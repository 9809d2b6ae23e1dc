"""What a worker's process is told and what it tells; apart, so that its parent need not load Faust."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from typing_extensions import TypedDict

from processors.personal import Mode


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What the process is told on its command line, as one JSON argument.

    `instance` names the member of the group over restarts; `careful`: the one before ended by itself.
    """

    directory: str
    instance: str
    brokers: list[str]
    topic_prefix: str
    group: str
    record_bytes: int
    rules: str | None
    careful: bool
    personal_mode: Mode = "off"


class PartitionReport(TypedDict):
    """How one partition is. `busy_s`: for so long there has been something to do and nothing was done."""

    ready: bool
    next_offset: int
    end_offset: int | None
    busy_s: float
    events: int
    dead: int
    transactions: int
    recovered: int
    recovery_s: float


class WorkerReport(TypedDict):
    """A line of the process's output. `joined`: the group has given it its partitions, be it none."""

    joined: bool
    partitions: dict[str, PartitionReport]


def report_of(line: bytes) -> WorkerReport:
    """The inverse of what the process writes."""
    return json.loads(line)  # type: ignore[no-any-return]  # written by the same version of this program


def command(task: WorkerTask) -> list[str]:
    """How to start it; its input is the pipe whose end stops it."""
    return [sys.executable, "-m", "sendtrace.worker_process", json.dumps(asdict(task))]
