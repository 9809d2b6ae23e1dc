"""Records of the topics `failures` and `tallies`, held to what the incident step and the tables take. Pure.

Fields that this release does not know are left out: a newer worker may write some. What is none of ours is
`RecordError`, and is left out as a whole: one such record must not stop the incidents of everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.codec import RecordError, check
from schemas.kafka_outputs import tally_of, transition_of
from schemas.records import Transition
from schemas.tallies import Tally, TallySample
from schemas.times import epoch_ms

_TIME_LENGTH: Final = len("2020-08-31T18:58:42.000Z")
_MOST_ID_CHARS: Final = 256
_MOST_COUNT: Final = 2**31


def failure_of(value: bytes, *, latest_ms: int) -> tuple[int, Transition]:
    """A record of topic `failures` and when it was received, not after `latest_ms`. Raises `RecordError`."""
    failure = check(Transition, _known(transition_of(value), Transition))
    _check_ids([failure["message_id"], failure["receipt_id"]])
    return _ms(failure["received_at"], latest_ms), failure


def known_tally_of(value: bytes, *, latest_ms: int) -> tuple[int, Tally]:
    """A record of topic `tallies` and when the last of its postbacks was received. Raises `RecordError`."""
    found = _known(tally_of(value), Tally)
    samples = found.get("samples")
    if isinstance(samples, list):
        found["samples"] = [_known(one, TallySample) if isinstance(one, dict) else one for one in samples]
    tally = check(Tally, found)
    for text in (tally["bucket_at"], tally["first_received_at"]):
        _ms(text, latest_ms)
    for sample in tally["samples"]:
        _ms(sample["received_at"], latest_ms)
        _check_ids([sample["message_id"], sample["receipt_id"]])
    for count in (tally["postbacks"], tally["reversed"], *tally["counts"].values(), *tally["dead"].values()):
        if not 0 <= count <= _MOST_COUNT:
            raise RecordError(f"Tally: a count is {count}, expected 0 to {_MOST_COUNT}")
    return _ms(tally["last_received_at"], latest_ms), tally


def _known(record: Mapping[str, object], kind: type[object]) -> dict[str, object]:
    fields = kind.__annotations__
    return {name: value for name, value in record.items() if name in fields}


def _ms(text: str, latest_ms: int) -> int:
    try:
        received_ms = epoch_ms(text)
    except (ValueError, OverflowError):
        received_ms = -1
    if len(text) != _TIME_LENGTH or not text.endswith("Z") or received_ms < 0:
        raise RecordError("a time is not of the form 2020-08-31T18:58:42.000Z")
    if received_ms > latest_ms:
        raise RecordError(f"it was received at {text}, more than a day ahead of this clock")
    return received_ms


def _check_ids(names: Iterable[str | None]) -> None:
    for name in names:
        if name is not None and (len(name) > _MOST_ID_CHARS or "\0" in name):
            raise RecordError(f"an id has more than {_MOST_ID_CHARS} characters, or U+0000 among them")
