"""The port between whoever drives the incident step and the tables of incidents, and the rows it writes. Pure.

A step reads groups, and everything it put out is written in one transaction with how far it has read:
so after any end it goes on where the tables are, and nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Final, NamedTuple, Protocol, cast

import orjson

from schemas.incidents import GroupStore, Incident, IncidentChange, IncidentOutputs
from schemas.records import Transition
from schemas.tallies import Tally

#: (topic without its prefix, partition) → where to read on. Embedded: topic `failures`, partition 0, a `seq`.
Positions = Mapping[tuple[str, int], int]

#: Set by people (`sinks.tables.incident_orders`); the step never writes them.
_OF_PEOPLE: Final = frozenset({"silenced_until", "acknowledged_at"})
#: What the step writes of an incident.
INCIDENT_COLUMNS: Final = tuple(name for name in Incident.__annotations__ if name not in _OF_PEOPLE)
CHANGE_COLUMNS: Final = ("change_id", "incident_id", "change", "at", "record")
#: Changes are kept for as long as the topics they are made from.
CHANGES_KEPT_DAYS: Final = 30

_SAMPLES: Final = INCIDENT_COLUMNS.index("samples")
_values = itemgetter(*INCIDENT_COLUMNS)

Row = tuple[object, ...]


class Unpublished(NamedTuple):
    """A change that topic `alerts` may not have yet, with the incident's columns of people as they are now."""

    seq: int
    change: IncidentChange


class IncidentTables(GroupStore, Protocol):
    """The incidents in one set of tables. Blocking; used by one thread, and there is one that writes.

    Trouble with the database is `sqlite3.Error` or `psycopg.Error`; then nothing of the transaction was written.
    """

    def positions(self) -> dict[tuple[str, int], int]:
        """Where to read on: everything before it has been handed to the step."""
        ...

    def watermark_ms(self) -> int | None:
        """How far the step was in event time; `None` before the first."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Everything read and written inside belongs together."""
        ...

    def write(self, outputs: IncidentOutputs, positions: Positions, *, watermark_ms: int) -> int:
        """What a step put out and how far it has read. Inside a transaction. Returns how many changes were new."""
        ...

    def unpublished(self, limit: int) -> list[Unpublished]:
        """The oldest changes that are not marked as published, in their order."""
        ...

    def mark_published(self, seqs: Sequence[int]) -> None:
        """Topic `alerts` has these."""
        ...

    def delete_old_changes(self, *, published: bool) -> int:
        """Retention: changes older than `CHANGES_KEPT_DAYS`, only those marked as published or all; how many."""
        ...

    def close(self) -> None:
        """Give back what it holds; an unfinished transaction is rolled back."""
        ...


class Step(Protocol):
    """What is driven (`processors.incidents`): pure but for the groups it reads."""

    def handle(
        self, store: GroupStore, failures: Sequence[Transition], tallies: Sequence[Tally], *, watermark_ms: int
    ) -> IncidentOutputs:
        """What follows from these records, and from event time being at `watermark_ms`."""
        ...


def incident_row(incident: Incident) -> Row:
    """In the order of `INCIDENT_COLUMNS`."""
    values = list(_values(cast(Incident, without_nul(incident))))
    values[_SAMPLES] = orjson.dumps(values[_SAMPLES]).decode()
    return tuple(values)


def change_row(change: IncidentChange) -> Row:
    """In the order of `CHANGE_COLUMNS`."""
    told = cast(IncidentChange, without_nul(change))
    record = orjson.dumps(told).decode()
    return (told["change_id"], told["incident"]["incident_id"], told["change"], told["at"], record)


def sample_rows(incidents: Iterable[Incident]) -> list[tuple[str, str]]:
    """(message id, incident id) of every sample that is a message's."""
    pairs = (
        (sample["message_id"], incident["incident_id"]) for incident in incidents for sample in incident["samples"]
    )
    return list(dict.fromkeys((message_id, name) for message_id, name in pairs if message_id is not None))


def unpublished_of(seq: int, record: str, silenced_until: str | None, acknowledged_at: str | None) -> Unpublished:
    """A row of `incident_changes` beside what people did to the incident since."""
    change = cast(IncidentChange, orjson.loads(record))
    change["incident"]["silenced_until"] = silenced_until
    change["incident"]["acknowledged_at"] = acknowledged_at
    return Unpublished(seq, change)


def without_nul(value: object) -> object:
    """The same with U+FFFD for U+0000, which Postgres cannot hold; both databases get the same."""
    return _replaced(value) if b"\\u0000" in orjson.dumps(value) else value


def _replaced(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {name: _replaced(inner) for name, inner in value.items()}
    return [_replaced(inner) for inner in value] if isinstance(value, list) else value
