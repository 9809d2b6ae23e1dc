"""What the processor writes to Kafka for a handled batch, and back (design §3). Pure: bytes and texts, no client.

Values are the JSON of `schemas.records`, dead letters the exact bytes they were. Headers are CloudEvents
1.0 attributes, so that a reader can filter by source, type, status and class without parsing a body.
Readers take fields and headers they do not know for granted: a newer worker may write some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple, NotRequired, cast

import orjson
from pydantic import with_config
from typing_extensions import TypedDict

from schemas.batch import Batch, DeadLetter, Receipt
from schemas.codec import RecordError
from schemas.event import Rejected
from schemas.identity import campaign_key
from schemas.kafka_records import Headers, headers_of, postback_of
from schemas.personal import Personal
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import STRICT, PostbackEffect, StatusRecord, Transition
from schemas.rejections import RejectReason
from schemas.statuses import FAILURE_WORDS
from schemas.tallies import Tally
from schemas.times import epoch_ms

STATUS_TYPE: Final = "sendtrace.status"
TRANSITION_TYPE: Final = "sendtrace.transition"
FAILURE_TYPE: Final = "sendtrace.failure"
TALLY_TYPE: Final = "sendtrace.tally"
RECEIPTS_TYPE: Final = "sendtrace.receipts"
DEAD_TYPE: Final = "sendtrace.dead"

#: Brokers refuse a record of more than a megabyte unless told otherwise; the rest is for its headers.
MOST_VALUE_BYTES: Final = 960 * 1024
_RECEIPTS_A_RECORD: Final = 1_000
#: The headers of a dead letter that are those of its postback, beside the kind.
_OF_POSTBACK: Final = ("ce_id", "received_ms", "ce_source", "provider", "content-type", "content-encoding")
_JSON: Final = ("content-type", b"application/json")
_SPEC_VERSION: Final = ("ce_specversion", b"1.0")
_OFFSET_BITS: Final = 48
_HEADS_REMEMBERED: Final = 4_096


@with_config(STRICT)
class ReceiptEntry(TypedDict):
    """What one postback of the raw topic did, and where it lies there."""

    raw_offset: int
    receipt_id: str
    source: str
    provider: str
    received_at: str
    content_type: str
    message_id: str | None
    effect: PostbackEffect
    flags: list[str]


@with_config(STRICT)
class ReceiptsRecord(TypedDict):
    """The value of topic `receipts`: what became of the raw records before `next_offset` that no earlier one told of.

    Its partition is theirs. `identifiers` are further (text, message id) pairs under which a message is found,
    `personal` the fields of `Personal`, sealed; absent where there are none.
    """

    next_offset: int
    receipts: list[ReceiptEntry]
    identifiers: list[list[str]]
    personal: NotRequired[list[list[str | None]]]


class Received(NamedTuple):
    """What a record of topic `receipts` says."""

    next_offset: int
    receipts: list[Receipt]
    identifiers: list[tuple[str, str]]
    personal: list[Personal]


class Output(NamedTuple):
    """One record to write."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Outputs(NamedTuple):
    """Everything one batch writes, in the order in which it is to be written, topic by topic.

    Those of `failures` go to the partition of their key; the others to that of their raw records.
    """

    transitions: list[Output]
    status: list[Output]
    dead: list[Output]
    receipts: list[Output]
    failures: Sequence[Output] = ()


class OutputTooLargeError(ValueError):
    """A record that no broker would take."""


def raw_position(partition: int, offset: int) -> int:
    """One number for a place in the raw topic; within a partition it grows as the offset does."""
    return partition << _OFFSET_BITS | offset


def raw_place(position: int) -> tuple[int, int]:
    """The inverse of `raw_position`: (partition, offset)."""
    return position >> _OFFSET_BITS, position & ((1 << _OFFSET_BITS) - 1)


def outputs_of(batch: Batch, *, partition: int, next_offset: int) -> Outputs:
    """The records of a batch of one raw partition that ends before `next_offset`.

    The positions of `batch` are offsets. Raises `OutputTooLargeError` and `RecordError`.
    """
    keys = {message_id: key.encode("utf-8", "surrogatepass") for message_id, key in batch.keys.items()}
    return Outputs(
        [_transition(transition, keys[transition["message_id"]]) for transition in batch.transitions],
        [_status(state) for state in batch.states.values()],
        [_dead(dead, partition) for dead in batch.dead],
        [_receipts(record) for record in _receipt_records(batch, next_offset)],
        [_failure(transition) for transition in failures_of(batch.transitions)],
    )


def failures_of(transitions: Iterable[Transition]) -> list[Transition]:
    """Those into a failed outcome (topic `failures`, design §3). Nothing outranks a failure, so a message has one."""
    return [t for t in transitions if t["outcome"] == "failed" and t["from_status"] not in FAILURE_WORDS]


def tally_output(tally: Tally) -> Output:
    """A record of topic `tallies`. Raises `OutputTooLargeError`."""
    headers = [
        ("ce_id", tally["tally_id"].encode()),
        _SPEC_VERSION,
        ("ce_type", TALLY_TYPE.encode()),
        ("ce_source", tally["source"].encode()),
        _JSON,
    ]
    return Output(_campaign_key(tally["source"], tally["campaign_id"]), _within_bounds(orjson.dumps(tally)), headers)


def tally_of(value: bytes) -> Tally:
    """A record of topic `tallies`. Raises `RecordError`."""
    return cast(Tally, _object(value, "tallies"))


def state_bytes(state: StatusRecord) -> bytes:
    """A state as topic `status` and the store of a worker have it."""
    return orjson.dumps(state)


def state_of(value: bytes) -> StatusRecord:
    """The inverse of `state_bytes`. What a newer worker added is kept, and written again. Raises `RecordError`."""
    return cast(StatusRecord, _object(value, "status"))


def transition_of(value: bytes) -> Transition:
    """A record of topic `transitions`. Raises `RecordError`."""
    return cast(Transition, _object(value, "transitions"))


def receipts_of(value: bytes, *, partition: int) -> Received:
    """A record of topic `receipts`.

    The receipts' positions are those of `raw_position`, their postbacks without bodies. Raises `RecordError`.
    """
    record = cast(ReceiptsRecord, _object(value, "receipts"))
    try:
        receipts = [_receipt_of(entry, partition) for entry in record["receipts"]]
        identifiers = [(name, message_id) for name, message_id in record["identifiers"]]
        personal = [_personal_of(row) for row in record.get("personal", ())]
        return Received(record["next_offset"], receipts, identifiers, personal)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"receipts record: {type(error).__name__}: {error}") from error


def dead_letter_of(headers: Headers, value: bytes | None) -> DeadLetter:
    """A record of topic `dead`; its position is that of `raw_position`. Raises `RecordError`."""
    named = dict(headers)
    try:
        return DeadLetter(
            LogRecord(
                raw_position(int(named["raw_partition"]), int(named["raw_offset"])),
                postback_of(
                    [("ce_type", named["kind"]), *((name, named[name]) for name in _OF_POSTBACK if name in named)],
                    value,
                ),
            ),
            named["received_at"].decode(),
            named["stage"].decode(),
            Rejected(RejectReason(named["reason"].decode()), named["detail"].decode()),
        )
    except KeyError as error:
        raise RecordError(f"dead letter: the header {error.args[0]} is missing") from error
    except ValueError as error:
        raise RecordError(f"dead letter: a header is not what it should be: {error}") from error


def _transition(transition: Transition, key: bytes) -> Output:
    return _of_transition(transition, key, f"{TRANSITION_TYPE}.{transition['kind']}")


def _failure(transition: Transition) -> Output:
    key = _campaign_key(transition["source"], transition["campaign_id"])
    return _of_transition(transition, key, FAILURE_TYPE)


def _campaign_key(source: str, campaign_id: str | None) -> bytes:
    return campaign_key(source, campaign_id).encode("utf-8", "surrogatepass")


def _of_transition(transition: Transition, key: bytes, kind: str) -> Output:
    head = _head(kind, transition["source"], transition["status"])
    headers = [("ce_id", transition["transition_id"].encode()), *head]
    if (bounce_class := transition["bounce_class"]) is not None:
        headers.append(("ce_class", bounce_class.encode()))
    return Output(key, _within_bounds(orjson.dumps(transition)), headers)


def _status(state: StatusRecord) -> Output:
    message_id = state["message_id"].encode()
    head = _head(STATUS_TYPE, state["source"], state["status"])
    headers = [("ce_id", b"%b-%d" % (message_id, state["version"])), *head]
    return Output(message_id, _within_bounds(state_bytes(state)), headers)


@lru_cache(maxsize=_HEADS_REMEMBERED)
def _head(kind: str, source: str, status: str) -> tuple[tuple[str, bytes], ...]:
    """What the records of one kind, source and status share; made once."""
    return (
        _SPEC_VERSION,
        ("ce_type", kind.encode()),
        ("ce_source", source.encode()),
        ("ce_status", status.encode()),
        _JSON,
    )


def _dead(dead: DeadLetter, partition: int) -> Output:
    offset, postback = dead.record
    headers = [
        *(("kind", value) if name == "ce_type" else (name, value) for name, value in headers_of(postback)),
        ("ce_type", DEAD_TYPE.encode()),
        ("raw_partition", b"%d" % partition),
        ("raw_offset", b"%d" % offset),
        ("received_at", dead.received_at.encode()),
        ("stage", dead.stage.encode()),
        ("reason", dead.rejected.reason.value.encode()),
        ("detail", dead.rejected.detail.encode("utf-8", "replace")),
    ]
    return Output(postback.source.encode(), postback.body, headers)


def _receipt_records(batch: Batch, next_offset: int) -> Iterable[ReceiptsRecord]:
    """One at least, so that every batch says how far it went; identifiers and personal data go with the first."""
    rest = iter(batch.receipts)
    identifiers = [list(pair) for pair in batch.identifiers]
    personal = [list(row) for row in batch.personal]
    chunk = list(islice(rest, _RECEIPTS_A_RECORD))
    while True:
        following = list(islice(rest, _RECEIPTS_A_RECORD))
        end = following[0].record.position if following else next_offset
        record: ReceiptsRecord = {
            "next_offset": end,
            "receipts": [_entry(receipt) for receipt in chunk],
            "identifiers": identifiers,
        }
        if personal:
            record["personal"] = personal
        yield record
        if not following:
            return
        chunk, identifiers, personal = following, [], []


def _entry(receipt: Receipt) -> ReceiptEntry:
    offset, postback = receipt.record
    return {
        "raw_offset": offset,
        "receipt_id": postback.receipt_id,
        "source": postback.source,
        "provider": postback.provider,
        "received_at": receipt.received_at,
        "content_type": postback.content_type,
        "message_id": receipt.message_id,
        "effect": receipt.effect,
        "flags": list(receipt.flags),
    }


def _receipts(record: ReceiptsRecord) -> Output:
    headers = [_SPEC_VERSION, ("ce_type", RECEIPTS_TYPE.encode()), _JSON]
    return Output(None, _within_bounds(orjson.dumps(record)), headers)


def _receipt_of(entry: ReceiptEntry, partition: int) -> Receipt:
    received_at = entry["received_at"]
    postback = Postback(
        source=entry["source"],
        provider=entry["provider"],
        kind=KIND_POSTBACK,
        receipt_id=entry["receipt_id"],
        received_ms=epoch_ms(received_at),
        content_type=entry["content_type"],
        content_encoding="",
        body=b"",
    )
    record = LogRecord(raw_position(partition, entry["raw_offset"]), postback)
    return Receipt(record, received_at, entry["message_id"], entry["effect"], tuple(entry["flags"]))


def _personal_of(row: list[str | None]) -> Personal:
    message_id, kind, digest, sealed = row[:4]
    if not (isinstance(message_id, str) and isinstance(kind, str) and isinstance(digest, str)):
        raise TypeError("personal holds what is no text")
    return Personal(message_id, kind, digest, sealed)


def _within_bounds(value: bytes) -> bytes:
    if len(value) > MOST_VALUE_BYTES:
        raise OutputTooLargeError(f"a record of {len(value)} bytes, more than {MOST_VALUE_BYTES}")
    return value


def _object(value: bytes, topic: str) -> dict[str, object]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{topic} record: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{topic} record: not a JSON object")
    return found
