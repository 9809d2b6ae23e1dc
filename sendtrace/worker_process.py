"""One worker's process: Faust and the partitions it is given, until its pipe ends (`sendtrace worker` starts it).

Says twice a second on its output how it is: that it says anything is the sign that its loop turns.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import orjson
import uvloop

from processors.attempts import MarkedAttempts
from processors.classify import Classifier
from processors.faust_shell.fold import Folder
from processors.faust_shell.outbox import Brokers
from processors.faust_shell.owner import Owner, PartitionStats
from processors.faust_shell.shell import Shell, make_shell
from processors.faust_shell.state_store import RocksStates, shared_cache
from processors.normalize import Normalizer
from schemas.kafka_outputs import Outputs
from sendtrace.clock import SystemClock
from sendtrace.kept_running import GC_THRESHOLDS
from sendtrace.logs import configure_logs
from sendtrace.personal_keys import child_keys
from sendtrace.worker_reports import PartitionReport, WorkerReport, WorkerTask

#: Crash rather than skip: what is not committed is done again by the next owner.
EXIT_CRASHED: Final = 70
_REPORT_S: Final = 0.5
#: Less than the parent waits, which is less than a container is given.
_STOP_S: Final = 4.0
#: After a crash so many postbacks of each partition are handled one by one: what one transaction takes at most.
_SUSPECT_RECORDS: Final = 20_000
_CACHED_MESSAGES: Final = 3_000

_log = logging.getLogger(__name__)


class _Worker:
    """The process's one worker."""

    def __init__(self, task: WorkerTask) -> None:
        self._task = task
        self._directory = Path(task.directory)
        self._brokers = Brokers(
            addresses=tuple(task.brokers),
            topic_prefix=task.topic_prefix,
            group=task.group,
            record_bytes=task.record_bytes,
        )
        self._normalize = Normalizer(Classifier.load(Path(task.rules) if task.rules else None))
        self._seal = child_keys(task.personal_mode).seal
        self._cache = shared_cache()
        self._clock = SystemClock()
        self.shell: Shell = make_shell(
            self._brokers,
            instance=task.instance,
            directory=self._directory / "faust",
            open_owner=self._open_owner,
            crash=crash,
        )

    async def run(self, ended: asyncio.Event) -> None:
        """Work until `ended`."""
        shell = self.shell
        starting, reporting = asyncio.ensure_future(shell.start()), asyncio.ensure_future(self._report())
        starting.add_done_callback(_must_not_fail)
        stopped = asyncio.ensure_future(shell.wait_until_stopped())
        ending = asyncio.ensure_future(ended.wait())
        await asyncio.wait([stopped, ending], return_when=asyncio.FIRST_COMPLETED)
        if not ended.is_set():
            crash(f"stopped by itself: {shell.crash_reason or 'no reason given'}")
        reporting.cancel()
        with suppress(TimeoutError):  # what is not committed by then is done again
            async with asyncio.timeout(_STOP_S):
                await shell.stop()
                await shell.owners.close()

    def _open_owner(self, partition: int) -> Owner:
        path = self._directory / f"partition-{partition}"
        return Owner(
            partition,
            brokers=self._brokers,
            states=RocksStates(path / "state", cache=self._cache),
            folder_of=self._folder,
            clock=self._clock,
        )

    def _folder(self, owner: Owner, states: RocksStates, put_out: Callable[[Outputs], None]) -> Folder:
        attempts = self._directory / f"partition-{owner.partition}" / "attempt"
        return Folder(
            owner.partition,
            normalize=self._normalize,
            store=states,
            put_out=put_out,
            cached_messages=_CACHED_MESSAGES,
            seal=self._seal,
            suspicion=MarkedAttempts(attempts) if self._task.careful else None,
            suspect_until=owner.next_offset + _SUSPECT_RECORDS,
        )

    async def _report(self) -> None:
        out = sys.stdout.buffer
        while True:
            await asyncio.sleep(_REPORT_S)
            out.write(orjson.dumps(self._told()) + b"\n")
            out.flush()

    def _told(self) -> WorkerReport:
        now_s = self._clock.monotonic_s()
        owned = self.shell.owners.owned
        return {
            "joined": self.shell.joined,
            "partitions": {
                str(partition): _partition_report(owner, self.shell.end_offset(partition), now_s)
                for partition, owner in owned.items()
            },
        }


def _partition_report(owner: Owner, end_offset: int | None, now_s: float) -> PartitionReport:
    stats: PartitionStats = owner.stats
    since = owner.busy_since
    return {
        "ready": owner.ready,
        "next_offset": owner.next_offset,
        "end_offset": end_offset,
        "busy_s": 0.0 if since is None else now_s - since,
        "events": stats.events,
        "dead": stats.dead,
        "transactions": stats.transactions,
        "recovered": stats.recovered,
        "recovery_s": stats.recovery_s,
    }


def crash(reason: str) -> NoReturn:
    """End at once, without writing another byte to Kafka: whatever is not committed is done again."""
    _log.critical("%s", reason)
    logging.shutdown()
    os._exit(EXIT_CRASHED)


def _must_not_fail(starting: asyncio.Future[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        crash(f"cannot start: {type(error).__name__}: {error}")


async def _until_end_of(pipe: int, ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb"))
    await reader.read()
    ended.set()


async def _main(task: WorkerTask) -> NoReturn:
    ended = asyncio.Event()
    waiting = asyncio.ensure_future(_until_end_of(sys.stdin.fileno(), ended))
    await _Worker(task).run(ended)
    await waiting
    logging.shutdown()
    os._exit(0)  # Faust's threads, and what waits for a broker that is away, would hold it up


def main(argument: str) -> NoReturn:
    """`python -m sendtrace.worker_process TASK`: ends the process."""
    configure_logs("worker")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the whole group: the end of the pipe is the word to stop
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.install()  # Faust's consumer has a thread and a loop of its own
    uvloop.run(_main(WorkerTask(**json.loads(argument))))


if __name__ == "__main__":
    main(*sys.argv[1:])
