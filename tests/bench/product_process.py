"""`sendtrace up` on a fresh directory, as the product runs it or with the processor in a thread.

The thread is the layout that was not chosen (docs/decisions); everything else is the same program,
settings and traffic, so that the two differ in nothing but where the processor runs.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from threading import Thread
from typing import Any, Final, Literal
from unittest.mock import patch

import orjson
from typing_extensions import override

from ingest.file_log_reader import FileLogReader
from sendtrace import up
from sendtrace.clock import SystemClock
from sendtrace.data_paths import DataPaths
from sendtrace.kept_running import GC_THRESHOLDS
from sendtrace.processor_child import ProcessorChild
from sendtrace.processor_incidents import incident_turns
from sendtrace.processor_loop import open_loop, processor_lock
from sendtrace.processor_process import Housekeeping, Wakeups, follow
from sendtrace.serving import Running
from sendtrace.settings import Settings
from tests.bench.gateway_servers import TOKEN

Layout = Literal["process", "thread"]

_DEAD_RETENTION_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Product:
    """Where it keeps its data and how it is laid out."""

    directory: str
    layout: Layout = "process"


class ProcessorThread(ProcessorChild):
    """The processor's own loop, on a thread of the gateway's process."""

    def __init__(self, paths: DataPaths, **options: Any) -> None:  # noqa: ANN401  those of the one it stands for
        super().__init__(paths, **options)
        self._turns = partial(incident_turns, rules=options["incident_rules"], classes=None, clock=options["clock"])
        self._thread: Thread | None = None

    @override
    async def start(self, end: int) -> None:
        reading, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        self._thread = Thread(target=self._work, args=(reading,), name="processor")
        self._thread.start()
        self.publish(end)

    @override
    async def stop(self) -> None:
        self._ask_to_end()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _work(self, pipe: int) -> None:
        reader = FileLogReader(self._paths.raw)
        with processor_lock(self._paths, wait=True):
            loop, tables = open_loop(self._paths, reader=reader, rules=None, clock=SystemClock())
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            follow(loop, reader, Wakeups(pipe), Housekeeping(tables, _DEAD_RETENTION_DAYS), self._turns(tables))
            tables.close()
        reader.close()
        os.close(pipe)


def settings(directory: str) -> Settings:
    """One Braze source on free ports; everything else as by default."""
    return Settings.model_validate(
        {
            "sources": {"braze": {"provider": "braze", "token_sha256": [sha256(TOKEN.encode()).hexdigest()]}},
            "gateway": {"port": "0"},
            "admin": {"port": "0"},
            "storage": {"directory": directory},
        }
    )


def _ready(running: Running) -> None:
    port = int(running.gateway_url.rpartition(":")[2])
    print(orjson.dumps({"port": port}).decode(), flush=True)


def _notice(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argument: str) -> int:
    """`python -m tests.bench.product_process PRODUCT`, as JSON; until SIGTERM."""
    product = Product(**orjson.loads(argument))
    chosen = ProcessorThread if product.layout == "thread" else ProcessorChild
    with patch.object(up, "ProcessorChild", chosen):
        return up.run(settings(product.directory), on_ready=_ready, notice=_notice)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
