"""What a batch writes to Kafka can be read again, by a reader that is older than the writer too."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.personal import Seal
from schemas.batch import Batch, Receipt
from schemas.codec import RecordError, check
from schemas.kafka_outputs import (
    MOST_VALUE_BYTES,
    Output,
    OutputTooLargeError,
    ReceiptsRecord,
    dead_letter_of,
    outputs_of,
    raw_place,
    raw_position,
    receipts_of,
    state_bytes,
    state_of,
    transition_of,
)
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import StatusRecord
from tests.integration.read_rig import MIDNIGHT_MS, braze, documented

NORMALIZE = Normalizer(Classifier.load(None))
SENT = [*documented(), braze("d1", "sent", reason="a\u2028b")]


SEAL = Seal("a secret of thirty-two characters", encrypted=True)


class NothingYet:
    """A `StateStore` before the first message."""

    def get_many(self, _message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The port's method."""
        return {}


def batch_of(picked: list[int], *, first: int = 0) -> Batch:
    """What the processor makes of some of the documented bodies, at offsets from `first` on."""
    records = []
    for offset, number in enumerate(picked, start=first):
        one = SENT[number]
        postback = Postback(
            *(one.source, one.provider, KIND_POSTBACK, f"r{offset}", MIDNIGHT_MS + offset),
            *(one.content_type, one.content_encoding, one.body),
        )
        records.append(LogRecord(offset, postback))
    return PartitionProcessor(normalize=NORMALIZE, store=NothingYet(), seal=SEAL).handle(records)


def placed(record: LogRecord, partition: int, *, body: bool) -> LogRecord:
    postback = record.postback if body else record.postback._replace(content_encoding="", body=b"")
    return LogRecord(raw_position(partition, record.position), postback)


batches = st.lists(st.integers(0, len(SENT) - 1), max_size=12).map(batch_of)
partitions = st.integers(0, 2**15 - 1)


@given(batches, partitions)
def test_there_and_back(batch: Batch, partition: int) -> None:
    outputs = outputs_of(batch, partition=partition, next_offset=99)

    assert [transition_of(one.value) for one in outputs.transitions] == batch.transitions
    assert [one.key.decode() for one in outputs.transitions if one.key] == [
        batch.keys[transition["message_id"]] for transition in batch.transitions
    ]
    assert {(one.key or b"").decode(): state_of(one.value) for one in outputs.status} == batch.states
    assert [dead_letter_of(one.headers, one.value) for one in outputs.dead] == [
        dead._replace(record=placed(dead.record, partition, body=True)) for dead in batch.dead
    ]
    (record,) = outputs.receipts
    assert receipts_of(record.value, partition=partition) == (
        99,
        [one._replace(record=placed(one.record, partition, body=False)) for one in batch.receipts],
        batch.identifiers,
        batch.personal,
    )
    check(ReceiptsRecord, orjson.loads(record.value))
    assert all(check(StatusRecord, orjson.loads(one.value)) for one in outputs.status)


@given(batches)
def test_what_a_newer_worker_adds_is_no_trouble(batch: Batch) -> None:
    outputs = outputs_of(batch, partition=0, next_offset=99)
    more = [("region", b"eu")]

    for one in outputs.transitions:
        assert transition_of(newer(one.value)).items() >= transition_of(one.value).items()
    for one in outputs.status:
        kept = state_of(newer(one.value))
        assert state_of(state_bytes(kept))["added"] == 1  # type: ignore[typeddict-item]  # by a newer one
    for one in outputs.dead:
        assert dead_letter_of([*one.headers, *more], one.value) == dead_letter_of(one.headers, one.value)
    record = orjson.loads(outputs.receipts[0].value)
    record["receipts"] = [{**entry, "added": 1} for entry in record["receipts"]]
    assert receipts_of(orjson.dumps(record | {"added": 1}), partition=0) == receipts_of(
        outputs.receipts[0].value, partition=0
    )


def newer(value: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(value), "added": 1})


@given(partitions, st.integers(0, 2**48 - 1))
def test_a_place_is_one_number_and_back(partition: int, offset: int) -> None:
    assert raw_place(raw_position(partition, offset)) == (partition, offset)
    assert 0 <= raw_position(partition, offset) < 2**63


@given(partitions, st.integers(0, 2**48 - 2))
def test_positions_of_a_partition_grow_with_the_offset(partition: int, offset: int) -> None:
    assert raw_position(partition, offset) < raw_position(partition, offset + 1)


@pytest.mark.parametrize(("count", "records"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (2_500, 3)])
def test_many_receipts_are_several_records_that_end_where_the_next_begins(count: int, records: int) -> None:
    """A gap in the offsets, as where a transaction of somebody else's was, belongs to the record before it."""
    receipts = [
        Receipt(
            LogRecord(2 * number, Postback("s", "p", KIND_POSTBACK, f"r{number}", 0, "", "", b"")),
            "1970-01-01T00:00:00.000Z",
            *("m", "applied", ()),
        )
        for number in range(count)
    ]
    batch = Batch([], {}, {}, receipts, [], [("name", "m")])

    read = [receipts_of(one.value, partition=0) for one in outputs_of(batch, partition=0, next_offset=9_999).receipts]

    assert len(read) == records
    assert [one.next_offset for one in read] == [*range(2_000, 2_000 * records, 2_000), 9_999]
    assert [one.identifiers for one in read] == [[("name", "m")], *[[]] * (records - 1)]
    assert [one.record.position for some in read for one in some.receipts] == [one.record.position for one in receipts]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_no_json_object_is_refused_by_name(value: bytes) -> None:
    for read, name in ((state_of, "status"), (transition_of, "transitions")):
        with pytest.raises(RecordError, match=f"{name} record: not"):
            read(value)
    with pytest.raises(RecordError, match="receipts record: not"):
        receipts_of(value, partition=0)


@pytest.mark.parametrize(
    "value",
    [
        b'{"receipts": [], "identifiers": []}',
        b'{"next_offset": 1, "receipts": [{}], "identifiers": []}',
        b'{"next_offset": 1, "receipts": [], "identifiers": [["one"]]}',
        b'{"next_offset": 1, "receipts": 1, "identifiers": []}',
    ],
)
def test_receipts_that_lack_something_are_refused(value: bytes) -> None:
    with pytest.raises(RecordError, match="receipts record: "):
        receipts_of(value, partition=0)


@pytest.mark.parametrize("name", ["raw_partition", "raw_offset", "received_at", "stage", "reason", "detail", "kind"])
def test_a_dead_letter_says_what_it_lacks(name: str) -> None:
    output = dead_output()

    with pytest.raises(RecordError, match=f"the header {name} is missing"):
        dead_letter_of([header for header in output.headers if header[0] != name], output.value)


@pytest.mark.parametrize(("name", "value"), [("reason", b"no such word"), ("raw_offset", b"x"), ("stage", b"\xff")])
def test_a_dead_letter_with_a_header_of_the_wrong_kind_is_refused(name: str, value: bytes) -> None:
    output = dead_output()

    with pytest.raises(RecordError, match="a header is not what it should be"):
        dead_letter_of([*output.headers, (name, value)], output.value)


def dead_output() -> Output:
    (output, *_) = outputs_of(batch_of(list(range(len(SENT)))), partition=0, next_offset=0).dead
    return output


def test_a_state_beyond_what_brokers_take_is_refused_here() -> None:
    batch = batch_of([len(SENT) - 1])
    (state,) = batch.states.values()
    state["reason"] = "x" * MOST_VALUE_BYTES

    with pytest.raises(OutputTooLargeError, match="more than"):
        outputs_of(batch, partition=0, next_offset=1)
