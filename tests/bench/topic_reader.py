"""The least a recovery could do: reads a topic from its beginning to where it ends now, committed records alone.

Says how long that took, and how many records there were.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer

_FETCH_BYTES: Final = 4 * 1024 * 1024
_POLL_MS: Final = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read."""

    address: str
    topic: str


class Read(NamedTuple):
    """What came of it."""

    records: int
    seconds: float
    cpu_s: float


async def run(reading: Reading) -> Read:
    """One consumer for all partitions, with the fetches a recovering worker makes."""
    consumer = AIOKafkaConsumer(
        reading.topic,
        bootstrap_servers=reading.address,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    await consumer.start()
    began_s, began_cpu_s, records = time.perf_counter(), time.process_time(), 0
    try:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            records += sum(map(len, (await consumer.getmany(timeout_ms=_POLL_MS)).values()))
        return Read(records, time.perf_counter() - began_s, time.process_time() - began_cpu_s)
    finally:
        await consumer.stop()


def main(argument: str) -> None:
    """`python -m tests.bench.topic_reader READING`, as JSON."""
    print(orjson.dumps(uvloop.run(run(Reading(**orjson.loads(argument))))._asdict()).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
