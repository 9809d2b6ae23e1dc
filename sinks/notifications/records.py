"""What the parts of notifications hand to each other. Pure data; times are Unix milliseconds unless they are texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from pydantic import with_config
from typing_extensions import TypedDict

from schemas.incidents import SEVERITIES, Incident, IncidentChange, Severity
from schemas.records import STRICT

#: What is told of an incident. `passed`: it came and went before anybody could be told.
Word = Literal["opened", "escalated", "reopened", "resolved", "passed"]
#: The changes people may be told of; `updated` is none.
TOLD_CHANGES: Final = frozenset({"opened", "escalated", "resolved", "reopened"})
#: What a message does to the entry that stands for incidents which were only counted.
Digest = Literal["trigger", "resolve"]


@with_config(STRICT)
class Line(TypedDict):
    """One incident of a message, as it was when the message was made."""

    word: Word
    change_id: str
    incident: Incident


@with_config(STRICT)
class Notice(TypedDict):
    """What one message says, before it is put into a target's words.

    `lines` are told one by one, the worst first; `more` counts the others by word. `firing` are the incidents that a
    target which forgets must hear of again. `sample`: it is a test, and says so.
    """

    lines: list[Line]
    more: dict[Word, int]
    firing: list[Incident]
    digest: Digest | None
    sample: bool


class Message(NamedTuple):
    """A notice on its way. `message_id` is the idempotency key. `next_ms`: not to be tried before."""

    message_id: str
    target: str
    notice: Notice
    made_ms: int
    attempts: int
    next_ms: int


class Pending(NamedTuple):
    """A change that waits for a target. `taken_ms`: since when; `held`: a silence held it back before."""

    seq: int
    taken_ms: int
    held: bool
    change: IncidentChange


class Waiting(NamedTuple):
    """What waits for a target and may be looked at now. `worst` is `None` where nothing but resolving waits."""

    changes: int
    oldest_ms: int
    worst: Severity | None


class Silenced(NamedTuple):
    """One row of `silences` that is in force."""

    label: str
    value: str
    until_ms: int


class People(NamedTuple):
    """What the tables say now of the incidents asked for, people's marks included, and what is silenced."""

    incidents: Mapping[str, Incident]
    silences: Sequence[Silenced]


class Outcome(NamedTuple):
    """What came of an attempt. `answer` is one line for people. `retry_after_s`: what the target asked for."""

    state: Literal["delivered", "again", "refused"]
    answer: str
    retry_after_s: float | None = None


def rank(severity: Severity) -> int:
    """0 for the least."""
    return SEVERITIES.index(severity)
