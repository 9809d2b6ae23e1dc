"""What is remembered of one group between steps, and how it is written: compact JSON, arrays by position.

Everything in it is bounded: samples, spells, steps of a window, hours of history.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import orjson

from processors.incidents.rules import IncidentRule, Labels
from schemas.incidents import MOST_INCIDENT_SAMPLES, IncidentKind, Severity

MOST_SPELLS: Final = 8
MOST_REASON_CHARS: Final = 200


class Sample(NamedTuple):
    """One postback behind an incident; those that came first, by time and receipt, are kept."""

    at_ms: int
    receipt_id: str
    message_id: str | None
    status: str
    reason: str | None
    bounce_class: str | None


@dataclass(slots=True)
class Spell:
    """Trouble without a longer pause than the rule's quiet.

    `met_ms`: when the rule's condition was met, `None` while it is not. `total` is of rates, and of silences what
    was to be expected. `window`: matched and total of the last window that was too much. `ended_ms` is of silences.
    """

    first_ms: int
    last_ms: int
    count: int
    total: int | None = None
    met_ms: int | None = None
    window: tuple[int, int] = (0, 0)
    ended_ms: int | None = None
    samples: list[Sample] = field(default_factory=list)

    def holds(self, at_ms: int) -> bool:
        """Whether a time lies in it."""
        return self.first_ms <= at_ms <= self.last_ms


@dataclass(slots=True)
class Told:
    """What was last said of the group's incident: of which spell (`point_ms` lies in it), and how far.

    `number` counts the spells told of; `ended_ms` is when the last one ended, `None` while it is open.
    """

    point_ms: int
    number: int
    ended_ms: int | None = None
    step: int = 0
    updated_ms: int = 0


@dataclass(slots=True)
class Group:
    """`buckets`: step of the window → matched, total. What `judged` to `active` hold is said where they are used."""

    labels: Labels
    spells: list[Spell] = field(default_factory=list)
    buckets: dict[int, list[int]] = field(default_factory=dict)
    told: Told | None = None
    closed_ms: int | None = None
    # of rates: the last step that is judged, what came in steps after the spell's last, samples of no spell yet
    judged: int = -1
    pending: list[int] = field(default_factory=lambda: [0, 0])
    candidates: list[Sample] = field(default_factory=list)
    # of silences: the last postback, and postbacks by hour
    heard_ms: int = -1
    hours: dict[int, int] = field(default_factory=dict)


def earliest(samples: list[Sample]) -> list[Sample]:
    """As many as an incident shows, in order; texts go before `None`, so that any two can be compared."""
    samples.sort(key=_sample_order)
    return samples[:MOST_INCIDENT_SAMPLES]


def _sample_order(sample: Sample) -> tuple[int, str, str, str]:
    return sample[0], sample[1], sample[3], sample[2] or ""


class Known(NamedTuple):
    """A stored group: `kind` and `severity` are of the rule it was made by, which may be gone."""

    rule: str
    kind: IncidentKind
    severity: Severity
    bucket_ms: int
    group: Group


def write_group(rule: IncidentRule, group: Group) -> bytes:
    """The state of a group."""
    told = group.told
    state: dict[str, object] = {
        "r": [rule.name, rule.kind, rule.severity, rule.bucket_ms],
        "l": list(group.labels),
        "s": [_spell_list(spell) for spell in group.spells],
        "b": _flat(group.buckets),
        "t": [told.point_ms, told.number, told.ended_ms, told.step, told.updated_ms] if told else None,
        "x": group.closed_ms,
        "j": group.judged,
        "p": group.pending,
        "c": [list(sample) for sample in group.candidates],
        "h": [group.heard_ms, *(number for pair in group.hours.items() for number in pair)] if group.hours else None,
    }
    return orjson.dumps({key: value for key, value in state.items() if value is not None and value != []})


def read_group(state: bytes) -> Known:
    """The inverse of `write_group`."""
    found = cast(dict[str, Any], orjson.loads(state))
    rule, kind, severity, bucket_ms = found["r"]
    group = Group(
        Labels(*found["l"]),
        spells=[_spell(values) for values in found.get("s", ())],
        buckets=_unflat(found.get("b", [])),
        told=Told(*found["t"]) if "t" in found else None,
        closed_ms=found.get("x"),
        judged=found["j"],
        pending=found["p"],
        candidates=[Sample(*values) for values in found.get("c", ())],
    )
    if "h" in found:
        group.heard_ms, *pairs = found["h"]
        group.hours = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Known(rule, kind, severity, bucket_ms, group)


def _spell_list(spell: Spell) -> list[object]:
    return [
        spell.first_ms,
        spell.last_ms,
        spell.count,
        spell.total,
        spell.met_ms,
        spell.window,
        spell.ended_ms,
        [list(sample) for sample in spell.samples],
    ]


def _spell(values: list[Any]) -> Spell:
    spell = Spell(*values)
    spell.window = (spell.window[0], spell.window[1])
    spell.samples = [Sample(*each) for each in spell.samples]
    return spell


def _flat(buckets: dict[int, list[int]]) -> list[int]:
    """Distances instead of numbers of steps, which have eight digits."""
    flat: list[int] = []
    before = 0
    for index in sorted(buckets):
        flat += (index - before, *buckets[index])
        before = index
    return flat


def _unflat(flat: list[int]) -> dict[int, list[int]]:
    buckets: dict[int, list[int]] = {}
    index = 0
    for place in range(0, len(flat), 3):
        index += flat[place]
        buckets[index] = flat[place + 1 : place + 3]
    return buckets
