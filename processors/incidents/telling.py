"""From a group's spells to its incident and what changed of it: opened, updated, escalated, resolved, reopened.

Spells are told of in the order of their times, each once the one before is over. A change's id is made of the
incident, the word, which spell told of it is and how far it is, so that a replay makes the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from processors.bounce_rules import BounceClass
from processors.incidents.group_state import Group, Sample, Spell, Told
from processors.incidents.rules import SETTLED_MS, IncidentRule
from processors.incidents.texts import advice_of, title_of
from schemas.incident_views import id_of_resolved_by_hand
from schemas.incidents import SEVERITIES, Incident, IncidentChange, IncidentChangeWord, IncidentSample, Severity
from schemas.times import iso_ms

#: `updated` is for the topic and for pages, so there is one in so much event time at most.
_UPDATED_MS: Final = 60_000


class Said(NamedTuple):
    """What is to be written of one group: its incident as it is now, if it has one, and what changed."""

    incident: Incident | None
    changes: list[IncidentChange]


class Teller:
    """Tells of one group."""

    def __init__(
        self, rule: IncidentRule, catalogue: Mapping[str, BounceClass], group_id: str, group: Group, watermark_ms: int
    ) -> None:
        self._rule = rule
        self._catalogue = catalogue
        self._group_id = group_id
        self._group = group
        self._watermark_ms = watermark_ms
        self._changes: list[IncidentChange] = []
        self._spell: Spell | None = None

    def tell(self) -> Said:
        """Say everything that is sure by the watermark."""
        while (spell := self._current() or self._next()) is not None:
            self._spell = spell
            self._open(spell)
            ended_ms = self._ended_ms(spell)
            if ended_ms is None:
                self._update(spell)
                break
            self._resolve(spell, ended_ms)
        return self._said()

    def close(self, closed_ms: int, *, by_hand: bool = False) -> Said:
        """It is over at once. `by_hand`: somebody resolved it, and the order has told so under the same id."""
        told = self._group.told
        spell = self._of_point(told.point_ms) if told is not None and told.ended_ms is None else None
        if spell is not None:
            self._spell = spell
            self._resolve(spell, max(closed_ms, spell.first_ms))
            if by_hand:
                self._changes[-1]["change_id"] = id_of_resolved_by_hand(self._group_id, closed_ms)
        return self._said()

    def _said(self) -> Said:
        if self._spell is None and self._group.told is not None:
            self._spell = self._of_point(self._group.told.point_ms)
        return Said(None if self._spell is None else self._row(self._spell), self._changes)

    def _current(self) -> Spell | None:
        """The spell last told of, if it is open: as far as was told, or because news came after its end."""
        told = self._group.told
        spell = self._of_point(told.point_ms) if told is not None else None
        if told is None or spell is None:
            return None
        ended_ms = self._ended_ms(spell)
        if told.ended_ms is None or ended_ms is None:
            return spell
        told.ended_ms = ended_ms
        self._spell = spell
        return None

    def _next(self) -> Spell | None:
        after_ms = self._group.told.point_ms if self._group.told is not None else -1
        for spell in self._group.spells:
            if spell.met_ms is not None and spell.first_ms > after_ms:
                return spell
        return None

    def _of_point(self, point_ms: int) -> Spell | None:
        return next((each for each in self._group.spells if each.holds(point_ms)), None)

    def _ended_ms(self, spell: Spell) -> int | None:
        """When it ended, `None` while that is not sure."""
        if self._rule.kind == "silence":
            return spell.ended_ms
        ended_ms = spell.last_ms + self._rule.quiet_ms
        return ended_ms if self._watermark_ms >= ended_ms + SETTLED_MS else None

    def _open(self, spell: Spell) -> None:
        told = self._group.told
        if told is None or told.ended_ms is not None:
            word: IncidentChangeWord = "opened" if told is None else "reopened"
            number = 1 if told is None else told.number + 1
            self._group.told = Told(spell.first_ms, number, updated_ms=spell.last_ms)
            self._say(word, _opened_ms(spell), spell, ())
        self._escalate(spell)

    def _escalate(self, spell: Spell) -> None:
        told = self._group.told
        while told is not None and told.step < _step(self._rule, spell):
            told.step += 1
            told.updated_ms = spell.last_ms
            self._say("escalated", spell.last_ms, spell, (told.step,))

    def _update(self, spell: Spell) -> None:
        told = self._group.told
        if told is not None and spell.last_ms - told.updated_ms >= _UPDATED_MS:
            told.updated_ms = spell.last_ms
            self._say("updated", spell.last_ms, spell, (spell.last_ms // _UPDATED_MS,))

    def _resolve(self, spell: Spell, ended_ms: int) -> None:
        told = self._group.told
        if told is not None:
            told.ended_ms = ended_ms
            self._say("resolved", ended_ms, spell, ())

    def _say(self, word: IncidentChangeWord, at_ms: int, spell: Spell, more: tuple[int, ...]) -> None:
        number = self._group.told.number if self._group.told is not None else 0
        text = "\n".join((self._group_id, word, str(number), *map(str, more)))
        change_id = blake2b(text.encode(), digest_size=16).hexdigest()
        self._changes.append(
            {"change_id": change_id, "change": word, "at": iso_ms(at_ms), "incident": self._row(spell)}
        )

    def _row(self, spell: Spell) -> Incident:
        rule, group = self._rule, self._group
        labels, told = group.labels, group.told
        ended_ms = told.ended_ms if told is not None else None
        return {
            "incident_id": self._group_id,
            "rule": rule.name,
            "kind": rule.kind,
            "severity": _severity(rule, spell),
            "state": "open" if ended_ms is None else "resolved",
            "source": labels.source,
            "provider": labels.provider,
            "campaign_id": labels.campaign_id,
            "class": labels.bounce_class,
            "domain": labels.domain,
            "count": spell.count,
            "total": spell.total,
            "first_seen": iso_ms(spell.first_ms),
            "last_seen": iso_ms(spell.last_ms),
            "opened_at": iso_ms(_opened_ms(spell)),
            "resolved_at": None if ended_ms is None else iso_ms(ended_ms),
            "title": title_of(rule, labels, spell),
            "advice": advice_of(rule, group, spell, self._catalogue),
            "samples": [_sample(sample) for sample in spell.samples],
            "silenced_until": None,
            "acknowledged_at": None,
        }


def _opened_ms(spell: Spell) -> int:
    return max(spell.first_ms, spell.met_ms or 0)


def _step(rule: IncidentRule, spell: Spell) -> int:
    """How many times the count has grown tenfold."""
    step, least = 0, rule.escalated_from * 10
    while spell.count >= least:
        step, least = step + 1, least * 10
    return step


def _severity(rule: IncidentRule, spell: Spell) -> Severity:
    place = SEVERITIES.index(rule.severity) + _step(rule, spell)
    return SEVERITIES[min(place, len(SEVERITIES) - 1)]


def _sample(sample: Sample) -> IncidentSample:
    return {
        "message_id": sample.message_id,
        "receipt_id": sample.receipt_id,
        "received_at": iso_ms(sample.at_ms),
        "status": sample.status,
        "reason": sample.reason,
    }
