"""What tallies and incidents cost beside the core, in a fresh process, on the same postbacks.

CPU time of one thread: the core as in `core_process`; the tallies of every batch, collected and written as JSON a
transaction; the incident step with all built-in rules, called once a second of receipt, its outputs written as
JSON. Then the step alone: a storm of nothing but failures, ten thousand a call, and very many campaigns at once.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Final, NamedTuple

import orjson

from processors.classify import Classifier
from processors.incidents.rules import DEFAULT_RULES
from processors.incidents.step import IncidentStep
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.tallies import Tallies
from schemas.batch import Batch
from schemas.codec import encode
from schemas.kafka_outputs import failures_of
from schemas.records import Transition
from schemas.tallies import Tally
from schemas.times import epoch_ms
from sendtrace.kept_running import GC_THRESHOLDS
from tests.bench.core_process import BATCH_RECORDS, ChangelogStore, Records
from tests.bench.postbacks import traffic
from tests.unit.incident_rig import NOON_MS, MemoryGroups, failure, tally

_SEED: Final = 1
#: Records go in at 15 a millisecond; the step's driver looks once a second.
_EVENTS_A_CALL: Final = 15_000
_BATCHES_A_TRANSACTION: Final = 16
_STORM: Final = 200_000
_STORM_A_CALL: Final = 10_000
_CAMPAIGNS: Final = 300


class Cost(NamedTuple):
    """CPU seconds of each part. `failures`: those among the events; `state_bytes`: what the groups weigh at the end."""

    events: int
    failures: int
    core_s: float
    tallies_s: float
    step_s: float
    state_bytes: int
    storm_failures: int
    storm_s: float
    touched_groups: int
    touched_s: float


class _Step:
    def __init__(self) -> None:
        self.store = MemoryGroups()
        self._step = IncidentStep(DEFAULT_RULES, Classifier.load(None).catalogue)
        self.cpu_s = 0.0

    def take(self, failures: list[Transition], tallies: list[Tally]) -> None:
        """One call, as a driver makes it; the driver's own reading and writing is not counted."""
        latest = max([f["received_at"] for f in failures] + [t["last_received_at"] for t in tallies])
        started_s = time.process_time()
        outputs = self._step.handle(self.store, failures, tallies, watermark_ms=epoch_ms(latest))
        for record in (*outputs.incidents, *outputs.changes):
            encode(record)
        self.cpu_s += time.process_time() - started_s
        self.store.write(outputs.groups)


class _Tallying:
    """Tallies and failures as the core's driver makes them, a transaction of several batches at a time."""

    def __init__(self) -> None:
        self._tallies = Tallies()
        self._batches = 0
        self.failures: list[Transition] = []
        self.tallies: list[Tally] = []
        self.cpu_s = 0.0

    def add(self, batch: Batch) -> None:
        started_s = time.process_time()
        self._tallies.add(batch)
        self.failures += failures_of(batch.transitions)
        self._batches += 1
        if self._batches % _BATCHES_A_TRANSACTION == 0:
            taken = self._tallies.take()
            for tally in taken:
                encode(tally)
            self.tallies += taken
        self.cpu_s += time.process_time() - started_s

    def take(self) -> tuple[list[Transition], list[Tally]]:
        taken = self.failures, self.tallies
        self.failures, self.tallies = [], []
        return taken


def measure(count: int) -> Cost:
    """Everything, once."""
    bodies = traffic(count, seed=_SEED)
    store, step, tallying = ChangelogStore(), _Step(), _Tallying()
    processor = PartitionProcessor(normalize=Normalizer(Classifier.load(None)), store=store)
    records = Records(NOON_MS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    core_s, failed = 0.0, 0
    for start in range(0, len(bodies), BATCH_RECORDS):
        batch = records.of(bodies[start : start + BATCH_RECORDS])
        started_s = time.process_time()
        done = processor.handle(batch)
        for transition in done.transitions:
            encode(transition)
        states = {identity: encode(state) for identity, state in done.states.items()}
        core_s += time.process_time() - started_s
        store.records.update(states)
        tallying.add(done)
        if (start + BATCH_RECORDS) % _EVENTS_A_CALL < BATCH_RECORDS:
            failures, tallies = tallying.take()
            failed += len(failures)
            step.take(failures, tallies)
    step_s = step.cpu_s
    state_bytes = sum(len(state.state) for state in step.store.states.values())
    return Cost(count, failed, core_s, tallying.cpu_s, step_s, state_bytes, _STORM, _storm(), *_many_campaigns())


def _storm() -> float:
    """CPU seconds of failures alone, of five campaigns and two classes."""
    step = _Step()
    classes = ("unknown_recipient", "block_list")
    reason = "550 5.7.1 [192.0.2.1] blocked, see https://postmaster.live.com/ for help with "
    for start in range(0, _STORM, _STORM_A_CALL):
        failures = [
            failure(
                NOON_MS + number // 20,
                number=number,
                campaign_id=f"campaign-{number % 5}",
                bounce_class=classes[number % 2],
                reason=f"{reason}{number % 1000}",
            )
            for number in range(start, start + _STORM_A_CALL)
        ]
        step.take(failures, [])
    return step.cpu_s


def _many_campaigns() -> tuple[int, float]:
    """Groups written and CPU seconds, where each campaign has 21 postbacks in every ten seconds."""
    step, touched = _Step(), 0
    for second in range(0, 600, 10):
        at_ms = NOON_MS + second * 1000
        tallies = [
            tally(at_ms, {"delivered": 20, "bounced": 1}, campaign_id=f"campaign-{number}")
            for number in range(_CAMPAIGNS)
        ]
        step.take([], tallies)
        touched += 2 * _CAMPAIGNS  # of two rules by campaign
    return touched, step.cpu_s


if __name__ == "__main__":
    print(orjson.dumps(measure(int(sys.argv[1]))._asdict()).decode(), flush=True)
