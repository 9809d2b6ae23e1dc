"""For tests of incidents: a store in memory, and failures and tallies of few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from processors.classify import Classifier
from processors.incidents.rules import DEFAULT_RULES, IncidentRule
from processors.incidents.step import IncidentStep
from schemas.incidents import GroupState, Incident, IncidentChange, IncidentOutputs
from schemas.records import Transition
from schemas.tallies import Tally, TallySample, bucket_of
from schemas.times import epoch_ms, iso_ms

NOON_MS = epoch_ms("2026-11-20T12:00:00.000Z")
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
CATALOGUE = Classifier.load(None).catalogue


class MemoryGroups:
    """The port's contract: what is empty is forgotten, what is due longest comes first."""

    def __init__(self) -> None:
        self.states: dict[str, GroupState] = {}

    def groups(self, group_ids: Iterable[str]) -> dict[str, GroupState]:
        return {group_id: self.states[group_id] for group_id in group_ids if group_id in self.states}

    def due(self, before_ms: int, *, limit: int) -> list[GroupState]:
        due = [(state.due_ms, state) for state in self.states.values() if state.due_ms is not None]
        return [state for due_ms, state in sorted(due, key=lambda pair: pair[0]) if due_ms <= before_ms][:limit]

    def write(self, states: Iterable[GroupState]) -> None:
        for state in states:
            if state.state:
                closed_ms = self.states[state.group_id].closed_by_hand_ms if state.group_id in self.states else None
                self.states[state.group_id] = state._replace(closed_by_hand_ms=closed_ms)
            else:
                self.states.pop(state.group_id, None)

    def close(self, group_id: str, at_ms: int) -> None:
        """As somebody does who resolves an incident."""
        self.states[group_id] = self.states[group_id]._replace(closed_by_hand_ms=at_ms, due_ms=0)


@dataclass
class Watch:
    """A step with its store, as a driver runs it: the watermark follows the records."""

    rules: Sequence[IncidentRule] = DEFAULT_RULES
    store: MemoryGroups = field(default_factory=MemoryGroups)
    rows: dict[str, Incident] = field(default_factory=dict)
    changes: dict[str, IncidentChange] = field(default_factory=dict)
    watermark_ms: int = 0

    def __post_init__(self) -> None:
        self.step = IncidentStep(self.rules, CATALOGUE)

    def take(self, failures: Sequence[Transition] = (), tallies: Sequence[Tally] = ()) -> IncidentOutputs:
        """Hand records over, and what is due with them."""
        times = [failure["received_at"] for failure in failures] + [tally["last_received_at"] for tally in tallies]
        if times:
            self.watermark_ms = max(self.watermark_ms, epoch_ms(max(times)))
        outputs = self.step.handle(self.store, failures, tallies, watermark_ms=self.watermark_ms)
        self.store.write(outputs.groups)
        self.rows.update({row["incident_id"]: row for row in outputs.incidents})
        for change in outputs.changes:
            self.changes.setdefault(change["change_id"], change)
        return outputs

    def at(self, at_ms: int) -> IncidentOutputs:
        """Nothing came until then."""
        self.watermark_ms = max(self.watermark_ms, at_ms)
        return self.take()

    def words(self) -> list[str]:
        """What happened, `updated` left out: how often it is said depends on the calls."""
        return [change["change"] for change in self.changes.values() if change["change"] != "updated"]

    def only(self) -> Incident:
        (row,) = self.rows.values()
        return row


def failure(
    at_ms: int,
    *,
    number: int = 0,
    status: str = "bounced",
    bounce_class: str | None = "unknown_recipient",
    campaign_id: str | None = "welcome",
    source: str = "braze",
    reason: str | None = "550 5.1.1 no such user",
) -> Transition:
    """One message that failed at a time; `number` makes it another one of the same time."""
    name = f"{at_ms:013d}-{number:06d}"
    return {
        "transition_id": f"m{name}-f",
        "kind": "status",
        "message_id": f"m{name}",
        "source": source,
        "provider": "braze",
        "channel": "email",
        "dispatch_id": name,
        "external_send_id": None,
        "reference": None,
        "campaign_id": campaign_id,
        "from_status": "sent",
        "status": status,
        "outcome": "failed",
        "provider_status": status,
        "provider_time": None,
        "received_at": iso_ms(at_ms),
        "reason": reason,
        "bounce_class": bounce_class,
        "conflict": False,
        "receipt_id": name,
        "version": 2,
    }


def tally(
    at_ms: int,
    given: Mapping[str, int] = NOTHING,
    *,
    campaign_id: str | None = "welcome",
    source: str = "braze",
    postbacks: int | None = None,
    reversed_: int = 0,
    dead: dict[str, int] | None = None,
    samples: Sequence[TallySample] = (),
    **more: int,
) -> Tally:
    """Counts of postbacks that came at a time: `given` and `more` by status."""
    at = iso_ms(at_ms)
    counts, dead = {**given, **more}, dead or {}
    return {
        "tally_id": f"{at}-{campaign_id}-{source}",
        "source": source,
        "provider": "braze",
        "channel": "email",
        "campaign_id": campaign_id,
        "bucket_at": bucket_of(at),
        "first_received_at": at,
        "last_received_at": at,
        "postbacks": sum(counts.values()) + sum(dead.values()) if postbacks is None else postbacks,
        "counts": counts,
        "reversed": reversed_,
        "dead": dead,
        "samples": list(samples),
    }


def told(word: str, at_ms: int, text: str, *, message_id: str | None = "m1") -> TallySample:
    """A sample of a tally."""
    return {
        "word": word,
        "message_id": message_id,
        "receipt_id": f"r{at_ms}",
        "received_at": iso_ms(at_ms),
        "told": text,
    }
