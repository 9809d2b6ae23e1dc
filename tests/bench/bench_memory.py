"""Resident bytes of the processor's process as open messages grow, and bytes of the tables for each of them.

Feeds a real processor process from a raw log written here, without a gateway: three stages, each of
messages nobody spoke of before. Memory that stays flat between the last two is the promise.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import sleep
from typing import Final, NamedTuple

import orjson

from ingest.file_log import FileLog
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.processor_process import END, Task
from sinks.tables.sqlite_writer import SqliteTables
from tests.bench.machine import resident_bytes
from tests.bench.measured import Plan, Result, median
from tests.bench.postbacks import Maker
from tests.bench.processes import BenchError
from tests.bench.tables_view import TablesView

STAGES: Final = (20_000, 100_000, 300_000)
_AT_ONCE: Final = 5_000
_START_S: Final = 30.0
_STAGE_S: Final = 300.0
_POLL_S: Final = 0.05
_SETTLE_S: Final = 1.0


class _Settled:
    """The one who waits for a chunk of postbacks to be durable."""

    def __init__(self, count: int) -> None:
        self.all = asyncio.get_running_loop().create_future()
        self._left = count

    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        self._left -= 1
        if not kept:
            self.all.set_exception(BenchError("the raw log could not keep what the processor is to be fed with"))
        elif not self._left:
            self.all.set_result(None)


class Feeder:
    """Writes open messages, of one or two postbacks each, to the raw log."""

    def __init__(self, paths: DataPaths) -> None:
        self._paths = paths
        self._clock = SystemClock()
        self._maker = Maker("memory", self._clock.now_ms() - 3_600_000)
        self._receipts = ReceiptIds()
        self._messages = 0

    def feed(self, messages: int) -> int:
        """So many more; returns the log's durable end."""
        return asyncio.run(self._feed(messages))

    async def _feed(self, messages: int) -> int:
        log = FileLog(self._paths.raw, clock=self._clock)
        log.start()
        for start in range(0, messages, _AT_ONCE):
            bodies = [body for _ in range(min(_AT_ONCE, messages - start)) for body in self._message()]
            settled = _Settled(len(bodies))
            for body in bodies:
                log.append(self._postback(body), settled)
            await settled.all
        await log.close()
        return log.durable_end

    def _message(self) -> Iterator[bytes]:
        self._messages += 1
        names = self._maker.names()
        yield self._maker.body(names, "sent", 1.0)
        if self._messages % 2:
            yield self._maker.body(names, "processed", 2.0)

    def _postback(self, body: bytes) -> Postback:
        at_ms = self._clock.now_ms()
        receipt = self._receipts.next(at_ms)
        return Postback("braze", "braze", KIND_POSTBACK, receipt, at_ms, "application/json", "", body)


class Stage(NamedTuple):
    """What so many open messages take. The tables' file without its write-ahead log, which does not grow with them."""

    messages: int
    resident_bytes: int
    tables_bytes: int
    tables_bytes_per_message: float


@dataclass(frozen=True, slots=True)
class Processor:
    """The product's own process, and our end of its pipe."""

    pid: int
    pipe: int

    def reach(self, end: int, tables: TablesView) -> None:
        """Tell it of the log's end and wait until everything before it is handled. Raises `BenchError`."""
        os.write(self.pipe, END.pack(end))
        for _ in range(int(_STAGE_S / _POLL_S)):
            if tables.position() >= end:
                return
            sleep(_POLL_S)
        raise BenchError(f"the processor did not come to position {end} within {_STAGE_S:g} s")


@contextmanager
def processor(paths: DataPaths) -> Iterator[Processor]:
    """Started as `sendtrace up` starts it; it ends when the pipe does."""
    reading, writing = os.pipe()
    task = Task(str(paths.directory), reading, rules=None, dead_retention_days=90, careful=False)
    argument = orjson.dumps(asdict(task)).decode()
    process = subprocess.Popen([sys.executable, "-m", "sendtrace.processor_process", argument], pass_fds=(reading,))
    os.close(reading)
    try:
        yield Processor(process.pid, writing)
    finally:
        os.close(writing)
        try:
            process.wait(_START_S)
        finally:
            process.kill()


def run(plan: Plan) -> Result:
    """One run; `rounds` and `seconds` say nothing here. Raises `BenchError`."""
    paths = DataPaths(plan.directory)
    SqliteTables(paths.tables).close()  # so that there is something to look at before the processor has begun
    feeder, stages = Feeder(paths), []
    fed = 0
    with processor(paths) as process:
        tables = TablesView(paths.directory)
        for messages in (round(stage * plan.scale) for stage in STAGES):
            process.reach(feeder.feed(messages - fed), tables)
            fed = messages
            sleep(_SETTLE_S)
            stages.append(_stage(messages, process.pid, paths))
            plan.say(f"{messages:,} open messages: {stages[-1].resident_bytes / 2**20:,.0f} MiB")
        tables.close()
    before, after = stages[-2:]
    return {
        "stages": [stage._asdict() for stage in stages],
        "resident_bytes_for_one_more_message": median(
            [(after.resident_bytes - before.resident_bytes) / (after.messages - before.messages)]
        ),
    }


def _stage(messages: int, pid: int, paths: DataPaths) -> Stage:
    tables_bytes = paths.tables.stat().st_size
    return Stage(messages, resident_bytes(pid), tables_bytes, median([tables_bytes / messages]))
