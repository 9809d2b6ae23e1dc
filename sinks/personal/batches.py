"""What is about to be written to tables, held to the list of what was erased. Pure.

For postbacks that come late, and for a replay of the raw log, which still has the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar, cast

from schemas.batch import Batch, DeadLetter
from schemas.records import Fact, StatusRecord, Transition
from sinks.personal.bodies import holds_body
from sinks.personal.redactor import Redactor

#: In place of what was wrong with a dead letter; by this text it is known that it cannot be tried again.
ERASED_DETAIL: Final = "The body was removed because it held a recipient who was erased; it cannot be tried again."

#: The texts of a record that a sender has a say in; the rest are words, times and digests of ours.
_TEXTS: Final = ("channel", "dispatch_id", "external_send_id", "reference", "campaign_id", "reason", "provider_status")
_FACT_TEXTS: Final = ("provider_status", "reason")

_Record = TypeVar("_Record", StatusRecord, Transition, Fact)


class Held(NamedTuple):
    """A batch as it may be written, and messages it shows to be an erased recipient's."""

    batch: Batch
    messages: set[str]


def held_to(redactor: Redactor, batch: Batch) -> Held:
    """`batch` without anything of an erased recipient's; what is not touched is shared with it, not copied."""
    named = {name for name, _ in batch.identifiers if redactor.names_erased(name)}
    shown = {message_id for name, message_id in batch.identifiers if name in named}
    shown |= {row.message_id for row in batch.personal if redactor.is_personal_erased(row)}
    spoken = {message_id for _, message_id in batch.identifiers} | {row.message_id for row in batch.personal}
    theirs = shown | {message_id for message_id in spoken if redactor.of_message(message_id)}
    return Held(
        batch._replace(
            transitions=[_record(redactor, transition, _TEXTS) for transition in batch.transitions],
            states={message_id: _state(redactor, state) for message_id, state in batch.states.items()},
            dead=[_dead(redactor, dead) for dead in batch.dead],
            identifiers=[pair for pair in batch.identifiers if pair[1] not in theirs],
            personal=[row for row in batch.personal if row.message_id not in theirs],
        ),
        shown,
    )


def _state(redactor: Redactor, state: StatusRecord) -> StatusRecord:
    found = _record(redactor, state, _TEXTS)
    facts = [_record(redactor, fact, _FACT_TEXTS) for fact in state["facts"]]
    if any(new is not old for new, old in zip(facts, state["facts"], strict=True)):
        return {**found, "facts": facts}
    return found


def _record(redactor: Redactor, record: _Record, names: tuple[str, ...]) -> _Record:
    values = cast(Mapping[str, object], record)
    changed = {
        name: text
        for name in names
        if isinstance(value := values.get(name), str) and (text := redactor.text(value)) is not value
    }
    return cast(_Record, {**values, **changed}) if changed else record


def _dead(redactor: Redactor, dead: DeadLetter) -> DeadLetter:
    postback, rejected = dead.record.postback, dead.rejected
    if holds_body(redactor, postback.body):
        emptied = dead.record._replace(postback=postback._replace(body=b""))
        return dead._replace(record=emptied, rejected=rejected._replace(detail=ERASED_DETAIL))
    detail = redactor.text(rejected.detail)
    return dead if detail is rejected.detail else dead._replace(rejected=rejected._replace(detail=detail))
