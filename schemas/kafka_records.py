"""A postback as a record of the raw topic, and back (design §3). Pure: bytes and texts, no client.

The value is the exact body, the headers say everything else. A reader takes headers it does not
know for granted, so that a newer gateway may add some; one that lacks what it needs is not ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from zlib import crc32

from schemas.codec import RecordError
from schemas.postback import Postback

#: As aiokafka and every other client has them: (name, value) in order.
Headers = Sequence[tuple[str, bytes]]

#: CloudEvents 1.0, Kafka binding, binary mode: `ce_id` is the receipt id, `ce_type` the kind with this before it.
TYPE_PREFIX: Final = "sendtrace."
_SPEC_VERSION: Final = b"1.0"
_KINDS_REMEMBERED: Final = 1_024
#: The headers that are a postback's own, and the first of `headers_of`.
_OWN: Final = 2


def headers_of(postback: Postback) -> list[tuple[str, bytes]]:
    """Everything of a postback that is not its body."""
    return [
        ("ce_id", postback.receipt_id.encode()),
        ("received_ms", b"%d" % postback.received_ms),
        *_common(postback.source, postback.provider, postback.kind, postback.content_type, postback.content_encoding),
    ]


def partition_of(key: bytes | None, receipt_id: str, partitions: int) -> int:
    """Where a record of the raw topic lies: CRC-32 of its key, as librdkafka's `consistent` partitioner has it.

    One without a key goes anywhere; its receipt id spreads such records evenly.
    """
    return crc32(receipt_id.encode() if key is None else key) % partitions


def postback_of(headers: Headers, value: bytes | None) -> Postback:
    """The inverse of `headers_of`. Raises `RecordError` with what is missing or wrong."""
    try:
        if len(headers) > _OWN and headers[0][0] == "ce_id" and headers[1][0] == "received_ms":
            receipt_id, received_ms, shared = headers[0][1], headers[1][1], tuple(headers[_OWN:])
        else:  # in another client's order
            named = dict(headers)
            receipt_id, received_ms = named.pop("ce_id"), named.pop("received_ms")
            shared = tuple(named.items())
        source, provider, kind, content_type, encoding = _shared(shared)
        body = value or b""
        return Postback(source, provider, kind, receipt_id.decode(), int(received_ms), content_type, encoding, body)
    except KeyError as error:
        raise RecordError(f"raw record: the header {error.args[0]} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:  # the last two for a header without a value
        raise RecordError(f"raw record: a header is not what it should be: {error}") from error


@lru_cache(maxsize=_KINDS_REMEMBERED)
def _shared(headers: tuple[tuple[str, bytes], ...]) -> tuple[str, str, str, str, str]:
    """What a sender's postbacks share, read once: source, provider, kind, content type and encoding."""
    named = dict(headers)
    return (
        named["ce_source"].decode(),
        named["provider"].decode(),
        named["ce_type"].decode().removeprefix(TYPE_PREFIX),
        named["content-type"].decode(),
        named.get("content-encoding", b"").decode(),
    )


@lru_cache(maxsize=_KINDS_REMEMBERED)
def _common(
    source: str, provider: str, kind: str, content_type: str, content_encoding: str
) -> tuple[tuple[str, bytes], ...]:
    """What a sender's postbacks share; made once."""
    shared = [
        ("ce_specversion", _SPEC_VERSION),
        ("ce_type", f"{TYPE_PREFIX}{kind}".encode()),
        ("ce_source", source.encode()),
        ("provider", provider.encode()),
        ("content-type", content_type.encode()),
    ]
    if content_encoding:
        shared.append(("content-encoding", content_encoding.encode()))
    return tuple(shared)
