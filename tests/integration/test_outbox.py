"""One writer a partition: the next one ends what the last left open, and the last can write nothing more."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import pytest

from processors.faust_shell.outbox import Brokers, Outbox, RecordTooLargeError
from schemas.kafka_outputs import Output, Outputs, tally_output
from schemas.kafka_records import partition_of
from schemas.tallies import Tally
from schemas.topics import DEAD, FAILURES, RECEIPTS, STATUS, TALLIES, TRANSITIONS
from tests.faults.worker_rig import read_all, topics
from tests.kafka.kafka_rig import Kafka


def brokers(kafka: Kafka, prefix: str) -> Brokers:
    return Brokers(addresses=(kafka.address,), topic_prefix=prefix, group=f"{prefix}processor")


def outputs(number: int, *, dead: bytes = b"") -> Outputs:
    one = Output(b"m%d" % number, b'{"n": %d}' % number, [("ce_id", b"%d" % number)])
    return Outputs([one], [one], [Output(b"s", dead, [])] if dead else [], [one])


TALLY: Tally = {
    "tally_id": "0" * 32,
    "source": "braze",
    "provider": "braze",
    "channel": "email",
    "campaign_id": "welcome",
    "bucket_at": "2026-11-21T18:00:10.000Z",
    "first_received_at": "2026-11-21T18:00:11.000Z",
    "last_received_at": "2026-11-21T18:00:12.000Z",
    "postbacks": 2,
    "counts": {"bounced": 2},
    "reversed": 0,
    "dead": {},
    "samples": [],
}
NO_CAMPAIGN: Tally = {**TALLY, "campaign_id": None}


async def values(kafka: Kafka, topic: str) -> list[bytes | None]:
    return [record.value for records in (await read_all(kafka.address, topic)).values() for record in records]


async def test_a_transaction_writes_everything_and_tells_where_status_goes_on(kafka: Kafka, topic_prefix: str) -> None:
    await topics(kafka.address, topic_prefix, partitions=2)
    outbox = Outbox(brokers(kafka, topic_prefix), 1)
    async with AsyncExitStack() as stack:
        await outbox.open()
        stack.push_async_callback(outbox.close)
        for number in range(3):
            outbox.put(outputs(number, dead=b"x"))
        assert await outbox.commit(10) == 3
        outbox.put(outputs(3))
        assert await outbox.commit(11) == 5  # the first one's end marker takes an offset
        outbox.put(Outputs([], [], [], outputs(4).receipts))
        assert await outbox.commit(12) is None

    for topic, count in ((STATUS, 4), (TRANSITIONS, 4), (RECEIPTS, 5), (DEAD, 3)):
        assert len(await values(kafka, f"{topic_prefix}{topic.name}")) == count


async def test_failures_and_tallies_lie_where_their_key_says(kafka: Kafka, topic_prefix: str) -> None:
    await topics(kafka.address, topic_prefix, partitions=3, others=3)
    outbox = Outbox(brokers(kafka, topic_prefix), 1)
    failed = [Output(b"braze/c%d" % number, b"{}", []) for number in range(9)]
    async with AsyncExitStack() as stack:
        await outbox.open()
        stack.push_async_callback(outbox.close)
        outbox.put(Outputs([], [], [], outputs(0).receipts, failed))
        outbox.put_tallies([TALLY, NO_CAMPAIGN])
        await outbox.commit(1)

    found = await read_all(kafka.address, f"{topic_prefix}{FAILURES.name}")
    placed = {record.key: partition for partition, records in found.items() for record in records}
    assert placed == {output.key: partition_of(output.key, "", 3) for output in failed}
    assert len(set(placed.values())) > 1
    assert set(await values(kafka, f"{topic_prefix}{TALLIES.name}")) == {
        tally_output(tally).value for tally in (TALLY, NO_CAMPAIGN)
    }


async def test_the_next_writer_fences_the_last(kafka: Kafka, topic_prefix: str) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    old = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.outbox_process", kafka.address, topic_prefix),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert old.stdin
    assert old.stdout
    assert await old.stdout.readline() == b"open\n"
    new = Outbox(brokers(kafka, topic_prefix), 0)
    async with AsyncExitStack() as stack:
        await new.open()
        stack.push_async_callback(new.close)
        old.stdin.write(b"go\n")
        assert (await old.stdout.readline()).decode().strip() in {"ProducerFenced", "IllegalOperation"}
        await old.wait()
        new.put(outputs(2))
        await new.commit(1)

    assert await values(kafka, f"{topic_prefix}{STATUS.name}") == [b'{"n": 2}']


async def test_a_transaction_left_open_holds_nobody_up_once_the_next_writer_is_there(
    kafka: Kafka, topic_prefix: str
) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    killed, following = (Outbox(brokers(kafka, topic_prefix), 0) for _ in range(2))
    async with AsyncExitStack() as stack:
        await killed.open()
        stack.push_async_callback(killed.close)
        killed.put(outputs(1))
        await killed._producer.begin_transaction()
        for acknowledged, _ in await killed._send(killed._status):
            await acknowledged  # on the topic, and nobody commits it

        since = time.monotonic()
        await following.open()
        stack.push_async_callback(following.close)
        following.put(outputs(2))
        await following.commit(1)
        assert await values(kafka, f"{topic_prefix}{STATUS.name}") == [b'{"n": 2}']
        assert time.monotonic() - since < 10  # the broker itself would wait for the transaction's timeout, and a minute


async def test_more_than_fits_into_one_batch_goes_in_several(kafka: Kafka, topic_prefix: str) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    outbox = Outbox(brokers(kafka, topic_prefix), 0)
    large = Output(b"k", b"x" * 400_000, [])
    async with AsyncExitStack() as stack:
        await outbox.open()
        stack.push_async_callback(outbox.close)
        outbox.put(Outputs([large] * 5, [large] * 3, [], outputs(1).receipts))
        assert await asyncio.wait_for(outbox.commit(1), 20) == 3

    assert len(await values(kafka, f"{topic_prefix}{TRANSITIONS.name}")) == 5


async def test_a_dead_letter_that_fits_nowhere_names_the_setting(kafka: Kafka, topic_prefix: str) -> None:
    await topics(kafka.address, topic_prefix, partitions=1)
    outbox = Outbox(brokers(kafka, topic_prefix), 0)
    async with AsyncExitStack() as stack:
        await outbox.open()
        stack.push_async_callback(outbox.close)
        with pytest.raises(RecordTooLargeError, match=r"set gateway\.limits\.body_bytes"):
            outbox.put(outputs(1, dead=b"x" * 2_000_000))
