"""A peer of `sendtrace worker`: a quixstreams dataframe around the same core, on its RocksDB state.

Row by row, as its rows come. Its changelog, compacted and keyed by message, stands for topic `status`; the other
outputs are written beside it, under the row's key, but no tallies: one for each row would be unfair. At least once,
acks=all. The settings that differ from its own are those found to make it faster: commits every second, batches of up
to a megabyte, a fetch queue that is looked into more often. Runs in an environment of its own (`peer_environment`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

import orjson
from aiokafka.structs import ConsumerRecord
from quixstreams import (  # type: ignore[import-not-found]  # only in the environment made for it
    Application,
    message_context,
)

from processors.classify import Classifier
from processors.faust_shell.raw_records import log_record_of
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.kafka_outputs import Output, outputs_of, state_of
from schemas.records import StatusRecord
from schemas.topics import DEAD, FAILURES, RAW, RECEIPTS, TRANSITIONS
from tests.bench.quix_task import QuixTask

_WRITTEN: Final = (TRANSITIONS, DEAD, RECEIPTS, FAILURES)
_COMMIT_S: Final = 1.0
_PRODUCER: Final = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "batch.size": 1_000_000}
_CONSUMER: Final = {"fetch.queue.backoff.ms": 10}


class Row(NamedTuple):
    """What of a fetched record is read."""

    partition: int
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]
    value: bytes


class Made(NamedTuple):
    """An output, and the topic of the catalogue it is for."""

    topic: str
    output: Output


class RowStore:
    """The state quixstreams hands over with each row, which is that of the row's key; a `StateStore`."""

    def __init__(self) -> None:
        self.state: Any = None

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        found = {name: self.state.get_bytes(name) for name in message_ids}
        return {name: state_of(value) for name, value in found.items() if value is not None}


class Partition:
    """One partition's working copies."""

    def __init__(self, number: int, normalize: Normalizer, cached_messages: int) -> None:
        self._number = number
        self._store = RowStore()
        self._processor = PartitionProcessor(normalize=normalize, store=self._store, cached_messages=cached_messages)

    def handle(self, row: Row, state: Any) -> list[Made]:  # noqa: ANN401  quixstreams' own, not installed for mypy
        """Fold one row into `state`; what is to be written."""
        self._store.state = state
        batch = self._processor.handle([log_record_of(cast("ConsumerRecord[bytes, bytes]", row))])
        made = outputs_of(batch, partition=self._number, next_offset=row.offset + 1)
        for key, value, _ in made.status:
            state.set_bytes((key or b"").decode(), value)
        by_topic = zip(_WRITTEN, (made.transitions, made.dead, made.receipts, made.failures), strict=True)
        return [Made(topic.name, output) for topic, some in by_topic for output in some]


def make_app(task: QuixTask) -> Any:  # noqa: ANN401  quixstreams' own, not installed for mypy
    """The application with its dataframe."""
    app = Application(
        broker_address=task.address,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.directory,
        commit_interval=_COMMIT_S,
        producer_extra_config=_PRODUCER,
        consumer_extra_config=_CONSUMER,
        loglevel="WARNING",
    )
    normalize, partitions = Normalizer(Classifier.load(None)), dict[int, Partition]()

    def step(value: bytes, _: bytes, timestamp: int, headers: list[tuple[str, bytes]], state: object) -> list[Made]:
        context = message_context()
        number = context.partition
        if number not in partitions:
            partitions[number] = Partition(number, normalize, task.cached_messages)
        return partitions[number].handle(Row(number, context.offset, timestamp, headers, value), state)

    raw = app.topic(task.prefix + RAW.name, key_deserializer="bytes", value_deserializer="bytes")
    frame = app.dataframe(raw).apply(step, stateful=True, metadata=True, expand=True)
    for written in _WRITTEN:
        topic = app.topic(task.prefix + written.name, key_serializer="bytes", value_serializer="bytes")
        _write(frame, topic, written.name)
    return app


def _write(frame: Any, topic: object, name: str) -> None:  # noqa: ANN401  quixstreams' own, not installed for mypy
    of_topic = frame.filter(lambda made: made.topic == name)
    of_topic = of_topic.set_headers(lambda made, *_: made.output.headers)
    of_topic.apply(lambda made: made.output.value).to_topic(topic)


def main(argument: str) -> None:
    """`python -m tests.bench.quix_frame TASK`, as JSON; until SIGTERM."""
    app = make_app(QuixTask(**orjson.loads(argument)))
    print("{}", flush=True)
    app.run()


if __name__ == "__main__":
    main(sys.argv[1])
