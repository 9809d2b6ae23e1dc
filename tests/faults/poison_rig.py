"""A raw log with bodies that break the processor, and a processor that breaks on them.

Run as a program it handles a data directory once, as the child of `sendtrace up` does, and is ended
by the body that says so: `python poison_rig.py DIRECTORY careful|plain`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from ingest.file_log import FileLog
from ingest.file_log_reader import FileLogReader
from processors.attempts import MarkedAttempts
from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.event import Event, Rejected
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.processor_loop import ProcessorLoop
from sinks.tables.sqlite_writer import SqliteTables

RAISES = b'{"dispatch_id": "raises", "status": "sent"}'
ENDS = b'{"dispatch_id": "ends-the-process", "status": "sent"}'


class Fragile:
    """The real reader of postbacks, with two faults."""

    def __init__(self) -> None:
        self.mended = False
        self._normalize = Normalizer(Classifier.load(None))

    def __call__(self, postback: Postback) -> Event | Rejected:
        if postback.body == RAISES and not self.mended:
            raise RecursionError("as deep as it goes")
        if postback.body == ENDS and not self.mended:
            os.abort()
        return self._normalize(postback)


class _Kept:
    def settle(self, kept: bool) -> None:  # noqa: FBT001 (the port's form)
        assert kept


def good(number: int) -> bytes:
    return orjson.dumps({"dispatch_id": f"d{number}", "status": "sent"})


def write_log(paths: DataPaths, bodies: Sequence[bytes]) -> None:
    """Keep `bodies` as the gateway would."""

    async def write() -> None:
        clock, receipt_ids = SystemClock(), ReceiptIds()
        log = FileLog(paths.raw, clock=clock)
        log.start()
        for body in bodies:
            now_ms = clock.now_ms()
            postback = Postback("braze", "braze", KIND_POSTBACK, receipt_ids.next(now_ms), now_ms, "", "", body)
            log.append(postback, _Kept())
        await log.close()

    asyncio.run(write())


def open_fragile(paths: DataPaths, *, careful: bool = False) -> tuple[ProcessorLoop, SqliteTables, Fragile]:
    normalize = Fragile()
    tables = SqliteTables(paths.tables)
    loop = ProcessorLoop(
        reader=FileLogReader(paths.raw),
        tables=tables,
        processor=PartitionProcessor(normalize=normalize, store=tables),
        clock=SystemClock(),
        suspicion=MarkedAttempts(paths.attempt) if careful else None,
    )
    return loop, tables, normalize


def handle_all(loop: ProcessorLoop) -> None:
    while loop.step():
        pass


if __name__ == "__main__":
    handle_all(open_fragile(DataPaths(Path(sys.argv[1])), careful=sys.argv[2] == "careful")[0])
