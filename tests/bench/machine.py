"""What Linux tells of processes and of this machine: CPU seconds, resident bytes, who else was busy.

Reads `/proc` and, to know the disk, syncs a file of its own. Never looks at what a process does.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_SYNC_BYTES: Final = 32 * 1024  # about what 45 postbacks of a group commit are


class Machine(NamedTuple):
    """Where a run was made. `filesystem` is that of the data directory."""

    cores: int
    processor: str
    kernel: str
    python: str
    filesystem: str
    load_before: float


class Disk(NamedTuple):
    """How long one appended batch takes to become durable, alone."""

    fdatasync_p50_ms: float
    fdatasync_p99_ms: float


class Usage(NamedTuple):
    """CPU seconds so far: of each watched process, of the machine, and what the machine could have given."""

    of: dict[int, float]
    busy_s: float
    whole_s: float

    def since(self, before: Usage) -> Usage:
        """What was used in between."""
        of = {pid: used_s - before.of.get(pid, 0.0) for pid, used_s in self.of.items()}
        return Usage(of, self.busy_s - before.busy_s, self.whole_s - before.whole_s)

    @property
    def others_share(self) -> float:
        """The share of the machine that processes not watched took: above some per cent a run is disturbed."""
        return max(0.0, self.busy_s - sum(self.of.values())) / self.whole_s if self.whole_s else 0.0


def cpu_s(pid: int) -> float:
    """User and system time of all threads of a process; 0 for one that is gone. To 10 ms."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def usage(pids: Iterable[int]) -> Usage:
    """CPU seconds as of now."""
    ticks = [int(word) for word in (_PROC / "stat").read_text().partition("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return Usage({pid: cpu_s(pid) for pid in pids}, (sum(ticks) - idle) / _TICKS_PER_S, sum(ticks) / _TICKS_PER_S)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """The processes a process started."""
    return [int(word) for word in (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]


def describe(directory: Path) -> Machine:
    """This machine, as the JSON of a run names it."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        kernel=platform.release(),
        python=platform.python_version(),
        filesystem=_filesystem(directory),
        load_before=os.getloadavg()[0],
    )


def disk(directory: Path, *, times: int = 200) -> Disk:
    """Append and sync a file of our own, as the raw log's writer does, with nothing else going on."""
    path = directory / "sync-probe"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    taken_ms = []
    try:
        for _ in range(times):
            os.write(handle, bytes(_SYNC_BYTES))
            started_s = time.perf_counter()
            os.fdatasync(handle)
            taken_ms.append((time.perf_counter() - started_s) * 1e3)
    finally:
        os.close(handle)
        path.unlink()
    return Disk(percentile(taken_ms, 50), percentile(taken_ms, 99))


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed; 0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def _processor() -> str:
    lines = (_PROC / "cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _filesystem(directory: Path) -> str:
    """The type of the longest mount point that holds `directory`."""
    place = directory.resolve()
    mounts = [line.split() for line in (_PROC / "self" / "mounts").read_text().splitlines()]
    holding = [(len(words[1]), words[2]) for words in mounts if place.is_relative_to(words[1])]
    return max(holding)[1] if holding else "unknown"
