"""The pure core alone, in a fresh process: normalize, fold and serialize, and beside it serializing alone.

Records are handed over in batches, as a reader would. What is timed is CPU time of this one thread:
every postback normalized and folded, every transition and every changed message's status record
written as JSON. The limit is a program that only reads each body as JSON and writes as many outputs
of the same contents. No disk, no socket, and making the records is not counted.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, cast

import orjson

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.codec import encode
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.receipts import ReceiptIds
from schemas.records import StatusRecord
from sendtrace.kept_running import GC_THRESHOLDS
from tests.bench.postbacks import traffic

BATCH_RECORDS: Final = 64  # as the drivers hand them over: see SLICE_BYTES in sendtrace/processor_loop.py
_PER_MS: Final = 15
_SEED: Final = 1


class Core(NamedTuple):
    """CPU seconds of the core and of the limit, over the same postbacks and outputs."""

    events: int
    outputs: int
    duplicates: int
    core_s: float
    limit_s: float


class ChangelogStore:
    """States as the records last written, which is what a processor on Kafka reads back."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        found = {}
        for identity in message_ids:
            record = self.records.get(identity)
            if record is not None:
                found[identity] = cast(StatusRecord, orjson.loads(record))
        return found


class Records:
    """Makes a batch of log records of bodies, received at 15 a millisecond."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._receipts = ReceiptIds()
        self._made = self._position = 0

    def of(self, bodies: list[bytes]) -> list[LogRecord]:
        """The next ones."""
        return [self._one(body) for body in bodies]

    def _one(self, body: bytes) -> LogRecord:
        at_ms = self._start_ms + self._made // _PER_MS
        receipt = self._receipts.next(at_ms)
        record = LogRecord(
            self._position, Postback("braze", "braze", KIND_POSTBACK, receipt, at_ms, "application/json", "", body)
        )
        self._made += 1
        self._position += len(body) + 100
        return record


class Folded(NamedTuple):
    """CPU seconds of folding, and what came of it."""

    cpu_s: float
    outputs: int
    duplicates: int


def fold(bodies: list[bytes], keep: Callable[[bytes], None], start_ms: int) -> Folded:
    """The core's whole work on all bodies; every output is handed to `keep`, off the clock."""
    store = ChangelogStore()
    processor = PartitionProcessor(normalize=Normalizer(Classifier.load(None)), store=store)
    records = Records(start_ms)
    cpu_s, outputs, duplicates = 0.0, 0, 0
    for start in range(0, len(bodies), BATCH_RECORDS):
        batch = records.of(bodies[start : start + BATCH_RECORDS])
        started_s = time.process_time()
        done = processor.handle(batch)
        transitions = [encode(transition) for transition in done.transitions]
        states = {identity: encode(state) for identity, state in done.states.items()}
        cpu_s += time.process_time() - started_s
        store.records.update(states)
        outputs += len(transitions) + len(states)
        duplicates += len(batch) - len(transitions)
        for output in (*transitions, *states.values()):
            keep(output)
    return Folded(cpu_s, outputs, duplicates)


def serialize(bodies: list[bytes], outputs: list[object]) -> float:
    """The limit: JSON in and out, nothing known of either. CPU seconds."""
    loads, dumps = orjson.loads, orjson.dumps
    started_s = time.process_time()
    for body in bodies:
        loads(body)
    for output in outputs:
        dumps(output)
    return time.process_time() - started_s


def measure(count: int) -> Core:
    """Both, in this process, one after the other."""
    bodies = traffic(count, seed=_SEED)
    start_ms = time.time_ns() // 1_000_000
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)  # as the processor's process sets it
    folded = fold(bodies, _drop, start_ms)
    written: list[object] = []
    fold(bodies, lambda output: written.append(orjson.loads(output)), start_ms)  # the limit's outputs, off the clock
    gc.freeze()
    return Core(count, folded.outputs, folded.duplicates, folded.cpu_s, serialize(bodies, written))


def _drop(output: bytes) -> None:
    """As when it is sent and freed."""


if __name__ == "__main__":
    print(orjson.dumps(measure(int(sys.argv[1]))._asdict()).decode(), flush=True)
