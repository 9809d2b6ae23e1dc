"""What the tests of the read side share: a data directory with a real raw log, processor and tables.

Postbacks are kept by the file log, folded by the processor loop and written by the tables' own
writer; nothing is put into the tables by hand.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import orjson

from ingest.file_log import FileLog
from ingest.file_log_reader import FileLogReader
from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.providers import samples
from schemas.postback import KIND_POSTBACK, Postback
from schemas.receipts import ReceiptIds
from sendtrace.data_paths import DataPaths
from sendtrace.processor_loop import ProcessorLoop
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_writer import SqliteTables

#: 2020-09-01T00:00:00Z: the night after the documented events.
MIDNIGHT_MS: Final = 1_598_918_400_000
HOUR_MS: Final = 3_600_000
_NORMALIZER: Final = Normalizer(Classifier.load(None))
_LONGEST_WAIT_S: Final = 10


class SystemClock:
    """The real time."""

    def now_ms(self) -> int:
        """The port's method."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """The port's method."""
        return time.monotonic()


class Sent(NamedTuple):
    """One postback as a provider sends it."""

    body: bytes
    source: str = "braze"
    provider: str = "braze"
    content_type: str = "application/json"
    content_encoding: str = ""


def braze(dispatch_id: str, status: str, *, reason: str | None = None, **metadata: str) -> Sent:
    """A Braze postback; `metadata` beside the time of the status."""
    about = {f"{status}_at": "2020-08-31T18:58:42.000+00:00", **metadata}
    if reason is not None:
        about["reason"] = reason
    return Sent(orjson.dumps({"dispatch_id": dispatch_id, "status": status, "metadata": about}))


def nrs(body: str) -> Sent:
    """A 360NRS notification as a form."""
    return Sent(body.encode(), "nrs", "nrs360", "application/x-www-form-urlencoded")


def documented() -> list[Sent]:
    """Every sample of both providers, the refused ones too."""
    return [_sample(provider, sample) for provider in ("braze", "nrs360") for sample in samples(provider)]


def _sample(provider: str, sample: dict[str, object]) -> Sent:
    text = sample.get("body")
    body = text.encode() if isinstance(text, str) else base64.b64decode(str(sample["body_base64"]))
    encoding = str(sample.get("content_encoding", ""))
    return Sent(body, "nrs" if provider == "nrs360" else provider, provider, str(sample["content_type"]), encoding)


class _Waiter:
    def __init__(self) -> None:
        self.kept = asyncio.get_running_loop().create_future()

    def settle(self, kept: bool) -> None:  # noqa: FBT001  the port's signature
        self.kept.set_result(kept)


class Plant:
    """A data directory and everything that works on it."""

    def __init__(self, directory: Path) -> None:
        self.paths = DataPaths(directory)
        self.now_ms = MIDNIGHT_MS
        self.reader = SqliteReader(self.paths.tables)
        self._ids = ReceiptIds()
        self._tables: SqliteTables | None = None
        self._log_reader: FileLogReader | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.reader.close()
        if self._tables is not None:
            self._tables.close()
        if self._log_reader is not None:
            self._log_reader.close()

    def keep(self, *sent: Sent) -> list[str]:
        """Make postbacks durable, a millisecond apart; returns their receipt ids."""
        postbacks = list(self._received(sent))
        asyncio.run(asyncio.wait_for(self._append(postbacks), _LONGEST_WAIT_S))
        return [postback.receipt_id for postback in postbacks]

    def fold(self, *sent: Sent) -> list[str]:
        """Keep postbacks and process all there is."""
        receipts = self.keep(*sent)
        self.process()
        return receipts

    def process(self) -> None:
        """Fold everything the log has."""
        loop = self._loop()
        while loop.step():
            pass

    def retry(self, *, normalize: Normalizer = _NORMALIZER) -> None:
        """Try the marked dead letters again, perhaps with another understanding."""
        self._loop(normalize).retry_dead()

    def body_at(self, position: int) -> bytes | None:
        """What lies in the raw log."""
        return self.log_reader.body_at(position)

    @property
    def log_reader(self) -> FileLogReader:
        """A reader of the raw log up to its last whole frame."""
        if self._log_reader is None:
            self._log_reader = FileLogReader(self.paths.raw)
        return self._log_reader

    def _loop(self, normalize: Normalizer = _NORMALIZER) -> ProcessorLoop:
        if self._tables is None:
            self._tables = SqliteTables(self.paths.tables)
        processor = PartitionProcessor(normalize=normalize, store=self._tables)
        return ProcessorLoop(
            reader=FileLogReader(self.paths.raw), tables=self._tables, processor=processor, clock=SystemClock()
        )

    def _received(self, sent: Sequence[Sent]) -> Iterator[Postback]:
        for one in sent:
            self.now_ms += 1
            yield Postback(
                one.source,
                one.provider,
                KIND_POSTBACK,
                self._ids.next(self.now_ms),
                self.now_ms,
                one.content_type,
                one.content_encoding,
                one.body,
            )

    async def _append(self, postbacks: Sequence[Postback]) -> None:
        log = FileLog(self.paths.raw, clock=SystemClock())
        log.start()
        waiters = [_Waiter() for _ in postbacks]
        for postback, waiter in zip(postbacks, waiters, strict=True):
            log.append(postback, waiter)
        kept = [await waiter.kept for waiter in waiters]
        await log.close()
        assert all(kept)
