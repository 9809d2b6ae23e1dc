"""The incident step: failures and tallies in, incidents and what changed of them out. No I/O but the store's reads.

The same object runs under both drivers. The driver writes all outputs with its positions and its watermark in one
transaction and only then asks for the next; inputs that were written must not be handed over again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from processors.bounce_rules import BounceClass
from processors.incidents.collecting import Collector, GroupKey
from processors.incidents.counting import count_news
from processors.incidents.domain_names import fold_domains, is_domain_list
from processors.incidents.group_state import MOST_SPELLS, Group, read_group, write_group
from processors.incidents.news import News
from processors.incidents.rating import judge_until, next_judgement_ms, rate_news
from processors.incidents.rules import LATENESS_MS, SETTLED_MS, IncidentRule, group_id
from processors.incidents.silencing import FORGOTTEN_MS, hear, missed_until
from processors.incidents.telling import Said, Teller
from schemas.incidents import GroupState, GroupStore, Incident, IncidentChange, IncidentOutputs
from schemas.records import Transition
from schemas.tallies import Tally

#: Of the groups that are due so many are looked at in one call.
MOST_DUE: Final = 500
#: A record that is later than this may find the spell it belongs to forgotten.
KEPT_MS: Final = 24 * 3_600_000
_LOOKED_AT_MS: Final = 3_600_000


class IncidentStep:
    """The rules and the catalogue of classes, bound once. Used by one thread; holds no state of groups.

    What is promised, given that `watermark_ms` is never before the latest `received_at` handed over:

    - Count rules: the incidents at the end are a function of the set of records, in any order and any batching, as
      long as none is later than `KEPT_MS` and no more than 8 spells of a group lie within that time. So are the
      changes but `updated`, if none is later than `LATENESS_MS`: one that is can join what was told as two spells.
    - Rate rules: incidents and changes but `updated` are, if no record is later than `LATENESS_MS`. A later one is
      still counted where its time belongs, but what was judged stays judged.
    - Silence rules: the same, for the postbacks of a source.
    - Everything handled again from an empty store gives the same incidents and, within these bounds, the same ids
      of changes. Only when a change is told, and how often `updated` is, depends on the calls.
    """

    def __init__(self, rules: Sequence[IncidentRule], catalogue: Mapping[str, BounceClass]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._catalogue = catalogue
        self._collector = Collector(rules)

    def handle(
        self, store: GroupStore, failures: Sequence[Transition], tallies: Sequence[Tally], *, watermark_ms: int
    ) -> IncidentOutputs:
        """Fold new records, and do what is due by the watermark. Failures and tallies may both be empty.

        At most `MOST_DUE` due groups are handled beside those the records are about. When the outputs name that
        many groups, write them and call again with the same watermark and no records: none of them is due then, so
        it ends. Whoever sets `closed_by_hand_ms` sets the group's `due_ms` to 0 with it, and the next call tells.
        """
        found = self._collector.collect(failures, tallies)
        outputs = _Outputs(fold_domains(found, store))
        keys = {group_id(*key): key for key in found}
        known = store.groups(keys) if keys else {}
        for identity, key in keys.items():
            self._handle_new(outputs, key, found[key], identity, known.get(identity), watermark_ms)
        written = {state.group_id for state in outputs.groups}
        for state in store.due(watermark_ms, limit=MOST_DUE):
            if state.group_id not in written:
                self._handle_due(outputs, state, watermark_ms)
        return IncidentOutputs(outputs.groups, outputs.incidents, outputs.changes)

    def _handle_new(
        self, outputs: _Outputs, key: GroupKey, news: News, identity: str, stored: GroupState | None, watermark_ms: int
    ) -> None:
        rule = self._rules[key[0]]
        group = Group(key[1]) if stored is None else self._restored(outputs, stored, watermark_ms)[1]
        self._bring_up(outputs, rule, identity, group, news, watermark_ms)

    def _handle_due(self, outputs: _Outputs, stored: GroupState, watermark_ms: int) -> None:
        if is_domain_list(stored):
            outputs.groups.append(GroupState(stored.group_id, None, b""))
            return
        rule, group = self._restored(outputs, stored, watermark_ms)
        if rule is not None:
            self._bring_up(outputs, rule, stored.group_id, group, None, watermark_ms)
        else:
            known = read_group(stored.state)
            past = IncidentRule(known.rule, known.kind, severity=known.severity)
            outputs.groups.append(_remembered(past, stored.group_id, group))

    def _bring_up(
        self,
        outputs: _Outputs,
        rule: IncidentRule,
        identity: str,
        group: Group,
        news: News | None,
        watermark_ms: int,
    ) -> None:
        before = _signature(group)
        due_ms = _fold(rule, group, news, watermark_ms)
        said = Teller(rule, self._catalogue, identity, group, watermark_ms).tell()
        outputs.say(said, changed=_signature(group) != before)
        group.spells = group.spells[-MOST_SPELLS:]
        outputs.groups.append(_state(rule, identity, group, due_ms, watermark_ms))

    def _restored(self, outputs: _Outputs, stored: GroupState, watermark_ms: int) -> tuple[IncidentRule | None, Group]:
        """A stored group, once other settings and people's decisions have had their effect, and its rule if it is."""
        known = read_group(stored.state)
        rule, group = self._rules.get(known.rule), known.group
        if rule is None or rule.kind != known.kind:  # its incident cannot go on
            past = IncidentRule(known.rule, known.kind, severity=known.severity)
            outputs.say(Teller(past, self._catalogue, stored.group_id, group, watermark_ms).close(watermark_ms))
            return rule, Group(group.labels, told=group.told, closed_ms=group.closed_ms)
        if rule.bucket_ms != known.bucket_ms:
            group.buckets, group.judged, group.pending, group.candidates = {}, -1, [0, 0], []
        closed_ms = stored.closed_by_hand_ms
        if closed_ms is not None and closed_ms > (group.closed_ms or -1):
            outputs.say(
                Teller(rule, self._catalogue, stored.group_id, group, watermark_ms).close(closed_ms, by_hand=True)
            )
            group.closed_ms = closed_ms
            group.spells, group.buckets, group.candidates, group.pending = [], {}, [], [0, 0]
        return rule, group


class _Outputs:
    def __init__(self, groups: Iterable[GroupState]) -> None:
        self.groups: list[GroupState] = list(groups)
        self.incidents: list[Incident] = []
        self.changes: list[IncidentChange] = []

    def say(self, said: Said, *, changed: bool = False) -> None:
        if said.incident is not None and (changed or said.changes):
            self.incidents.append(said.incident)
        self.changes += said.changes


def _signature(group: Group) -> list[tuple[object, ...]]:
    """What a row is made of, to see whether it has to be written again."""
    return [
        (spell.first_ms, spell.last_ms, spell.count, spell.total, spell.window, *map(tuple, spell.samples))
        for spell in group.spells
    ]


def _fold(rule: IncidentRule, group: Group, news: News | None, watermark_ms: int) -> int | None:
    """Bring the spells up to date; when the rule itself wants to look again."""
    if news is not None:
        if rule.kind != "silence":
            news.after(group.closed_ms)
        group.labels = group.labels._replace(provider=min(group.labels.provider, news.labels.provider))
    if rule.kind == "count":
        if news is not None:
            count_news(rule, group, news)
        return None
    if rule.kind == "rate":
        if news is not None:
            rate_news(rule, group, news)
        judge_until(rule, group, watermark_ms)
        return next_judgement_ms(rule, group)
    if news is not None:
        hear(rule, group, news)
    return missed_until(rule, group, watermark_ms)


def _state(rule: IncidentRule, identity: str, group: Group, due_ms: int | None, watermark_ms: int) -> GroupState:
    """What to remember: everything while something may still come of it, then only that there was an incident."""
    told = group.told
    if told is not None and told.ended_ms is None:
        ends_ms = [watermark_ms + _LOOKED_AT_MS] + ([] if due_ms is None else [due_ms])
        if rule.kind != "silence":
            ends_ms += [
                spell.last_ms + rule.quiet_ms + SETTLED_MS for spell in group.spells if spell.holds(told.point_ms)
            ]
        due_ms = min(ends_ms)
    elif due_ms is None:
        due_ms = _forgotten_ms(rule, group)
        if due_ms is None or due_ms <= watermark_ms:
            return _remembered(rule, identity, group)
    return GroupState(identity, max(due_ms, watermark_ms + 1), write_group(rule, group))


def _remembered(rule: IncidentRule, identity: str, group: Group) -> GroupState:
    """What is left of a group nothing can come of: that it had an incident, or it would be opened twice."""
    told = group.told
    past = Group(group.labels, told=told, closed_ms=group.closed_ms)
    return GroupState(identity, None, write_group(rule, past) if told is not None else b"")


def _forgotten_ms(rule: IncidentRule, group: Group) -> int | None:
    """When nothing can come of what is remembered any more."""
    if rule.kind == "silence":
        return group.heard_ms + FORGOTTEN_MS if group.heard_ms >= 0 else None
    ends_ms = [spell.last_ms + rule.quiet_ms + KEPT_MS for spell in group.spells[-1:]]
    if rule.kind == "rate":
        lately = [*group.buckets, *(sample.at_ms // rule.bucket_ms for sample in group.candidates)]
        ends_ms += [(index + rule.window_buckets + 1) * rule.bucket_ms + LATENESS_MS for index in lately]
    return max(ends_ms, default=None)
