"""How soon a worker has its state again, and what memory holds it: 10,000, 100,000 and 1,000,000 messages.

From topic `status` with the state deleted, and for the most messages from disk with the state kept, each from the start
of the command until it says that it is ready; what of that its partitions spent recovering is told by itself. Beside it
a consumer that only reads the same topic. A message has three facts and one record, as after a compaction.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, cast

from processors.partition import PartitionProcessor
from schemas.kafka_outputs import Output, outputs_of
from schemas.postback import LogRecord
from schemas.topics import STATUS
from sendtrace.data_paths import DataPaths
from tests.bench.contenders import worker_of
from tests.bench.kafka_side import NORMALIZE, PARTITIONS, Kafka, Record, fill, make_topics, postbacks_of, private_kafka
from tests.bench.machine import cpu_s, resident_bytes
from tests.bench.measured import Plan, Result, median
from tests.bench.plain_loop import ValuesStore
from tests.bench.postbacks import Maker
from tests.bench.processes import BenchError, helper
from tests.bench.topic_reader import Read, Reading
from tests.faults.worker_rig import Worker

STAGES: Final = (10_000, 100_000, 1_000_000)
_BATCH_RECORDS: Final = 250
_SETTLE_S: Final = 1.0
_STEPS: Final = ("sent", "processed", "delivered")


class Start(NamedTuple):
    """One start of the worker, until it was ready: of its process the CPU seconds and the resident memory then."""

    ready_s: float
    recovery_s: float
    recovered: int
    cpu_s: float
    resident_bytes: int


class Stage(NamedTuple):
    """So many messages. `read` is what the bare consumer took for the same topic."""

    messages: int
    from_topic: list[Start]
    from_disk: list[Start]
    read: list[Read]


def run(plan: Plan) -> Result:
    """See the module; `seconds` say nothing here. Raises `BenchError`."""
    with private_kafka(plan.directory) as kafka:
        return asyncio.run(_run(plan, kafka))


async def _run(plan: Plan, kafka: Kafka) -> Result:
    stages = [await _stage(plan, kafka, round(messages * plan.scale)) for messages in STAGES]
    first, *_, last = [_resident(stage) for stage in stages]
    return {
        "partitions": PARTITIONS,
        "stages": [_summary(stage) for stage in stages],
        "resident_last_to_first": median([last / first]),
        "resident_bytes_for_one_more_message": median(
            [(last - _resident(stages[-2])) / (stages[-1].messages - stages[-2].messages)]
        ),
    }


async def _stage(plan: Plan, kafka: Kafka, messages: int) -> Stage:
    stage, prefix = Stage(messages, [], [], []), f"recovery-{messages}."
    await make_topics(kafka.address, prefix)
    template = _template()
    shares = [range(number, messages, PARTITIONS) for number in range(PARTITIONS)]
    lanes = [_states(template, share) for share in shares]
    await fill(kafka.address, prefix + STATUS.name, lanes, batch=_BATCH_RECORDS)
    product = Worker(kafka.address, prefix, plan.directory / f"recovery-{messages}")
    for number in range(plan.rounds):
        shutil.rmtree(DataPaths(product.data).worker / "0", ignore_errors=True)
        stage.from_topic.append(await _start(product, expected=messages))
        if messages == round(STAGES[-1] * plan.scale):
            stage.from_disk.append(await _start(product, expected=0))
        with helper("tests.bench.topic_reader", Reading(kafka.address, prefix + STATUS.name)) as reader:
            stage.read.append(Read(**await asyncio.to_thread(reader.told)))  # type: ignore[arg-type]  # it wrote a Read
        plan.say(f"{messages:,} messages, round {number + 1}: ready after {stage.from_topic[-1].ready_s:.1f} s")
    return stage


async def _start(product: Worker, *, expected: int) -> Start:
    """Start, look, stop. Raises `BenchError` unless so many states were read from the topic."""
    began_s = time.perf_counter()
    async with worker_of(product):
        await product.until_ready(within_s=600)
        ready_s = time.perf_counter() - began_s
        (pid,) = product.children()
        used_s = cpu_s(pid)
        await asyncio.sleep(_SETTLE_S)
        (process,) = cast("list[dict[str, Any]]", (await product.state())["processes"])
        partitions = process["partitions"].values()
        recovered = sum(each["recovered"] for each in partitions)
        if recovered != expected:
            raise BenchError(f"the worker recovered {recovered} messages, expected {expected}")
        recovery_s = max(each["recovery_s"] for each in partitions)
        return Start(ready_s, recovery_s, recovered, used_s, resident_bytes(pid))


def _template() -> Output:
    """The status record of a message with three facts, as a worker writes it."""
    maker = Maker("recovery", 0)
    names = maker.names()._replace(dispatch_id="d" * 32, external_send_id="e" * 32)
    bodies = [maker.body(names, status, 2.0 * number) for number, status in enumerate(_STEPS)]
    processor = PartitionProcessor(normalize=NORMALIZE, store=ValuesStore())
    records = [LogRecord(number, postback) for number, postback in enumerate(postbacks_of(bodies))]
    (made,) = outputs_of(processor.handle(records), partition=0, next_offset=len(records)).status
    return made


def _states(template: Output, numbers: range) -> Iterator[Record]:
    """As many messages, each with its own ids."""
    key, value, headers = template.key or b"", template.value, template.headers[1:]
    for number in numbers:
        own = b"%032x" % (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)
        value_of_it = value.replace(key, own).replace(b"d" * 32, own[::-1]).replace(b"e" * 32, own)
        yield own, value_of_it, [("ce_id", own + b"-3"), *headers]


def _resident(stage: Stage) -> float:
    return median(start.resident_bytes for start in stage.from_topic)


def _summary(stage: Stage) -> Result:
    """Medians; ratios are medians of each round's own."""
    pairs = list(zip(stage.from_topic, stage.read, strict=True))
    found: Result = {
        "messages": stage.messages,
        "from_topic": _medians(stage.from_topic),
        "read": {field: median(getattr(read, field) for read in stage.read) for field in Read._fields},
        "recovery_s_to_read": median(ours.recovery_s / read.seconds for ours, read in pairs),
    }
    if stage.from_disk:
        starts = zip(stage.from_disk, stage.from_topic, strict=True)
        found["from_disk"] = _medians(stage.from_disk)
        found["ready_s_from_disk_to_from_topic"] = median(kept.ready_s / anew.ready_s for kept, anew in starts)
    return found


def _medians(starts: list[Start]) -> Result:
    return {field: median(getattr(start, field) for start in starts) for field in Start._fields}
