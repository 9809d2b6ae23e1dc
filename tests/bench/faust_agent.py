"""The other peer of `sendtrace worker`: Faust as its tutorial shows it, an agent over a stream, a table, `topic.send`.

Each postback is an event: folded by the same `PartitionProcessor`, its state in a Faust table whose changelog is the
status topic, its outputs sent one by one, but no tallies: one for each event would be unfair. All settings are Faust's
own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import cast

import faust
import orjson
from faust.types import StreamT

from processors.classify import Classifier
from processors.faust_shell.raw_records import log_record_of
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.kafka_outputs import outputs_of, state_of
from schemas.records import StatusRecord
from schemas.topics import DEAD, FAILURES, RAW, RECEIPTS, TRANSITIONS
from sendtrace.worker_process import _CACHED_MESSAGES
from tests.bench.kafka_side import PARTITIONS


@dataclass(frozen=True, slots=True)
class AgentTask:
    """Where to work; `group` is the app's name, `directory` where Faust keeps what it keeps."""

    address: str
    prefix: str
    group: str
    directory: str


class TableStore:
    """A Faust table as a `StateStore`."""

    def __init__(self, table: MutableMapping[bytes, bytes]) -> None:
        self._table = table

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        found = {name: self._table.get(name.encode()) for name in message_ids}
        return {name: state_of(value) for name, value in found.items() if value is not None}


def make_app(task: AgentTask) -> faust.App:
    """The app with its agent."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.address}",
        store="memory://",
        datadir=task.directory,
        topic_partitions=PARTITIONS,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    raw, transitions, dead, receipts, failures = (
        app.topic(task.prefix + topic.name, key_type=bytes, value_type=bytes, value_serializer="raw")
        for topic in (RAW, TRANSITIONS, DEAD, RECEIPTS, FAILURES)
    )
    status = cast(
        "MutableMapping[bytes, bytes]",
        app.Table("status", key_type=bytes, value_type=bytes, partitions=PARTITIONS),
    )
    normalize, processors = Normalizer(Classifier.load(None)), dict[int, PartitionProcessor]()

    @app.agent(raw)
    async def handle(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            message = event.message
            number = message.partition
            if number not in processors:
                processors[number] = PartitionProcessor(
                    normalize=normalize, store=TableStore(status), cached_messages=_CACHED_MESSAGES
                )
            batch = processors[number].handle([log_record_of(message)])
            made = outputs_of(batch, partition=number, next_offset=message.offset + 1)
            for key, value, _ in made.status:
                status[key or b""] = value
            own = ((transitions, number, made.transitions), (receipts, number, made.receipts))
            others = ((dead, 0, made.dead), (failures, 0, made.failures))  # topics of one partition
            sent = [(topic, place, output) for topic, place, some in (*own, *others) for output in some]
            for topic, place, (key, value, headers) in sent:
                await topic.send(  # type: ignore[unused-awaitable]  # nor does the tutorial: Faust waits before it commits
                    key=key, value=value, headers=headers, partition=place
                )

    return app


def main(argument: str) -> None:
    """`python -m tests.bench.faust_agent TASK`, as JSON; until SIGTERM."""
    app = make_app(AgentTask(**orjson.loads(argument)))
    print("{}", flush=True)
    faust.Worker(app, loglevel="warning", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1])
