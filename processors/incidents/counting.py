"""Rules that count: what matched is joined into spells, and a spell is trouble once a window of it held enough.

Order-free. Joining intervals is commutative, so spells, counts and samples do not depend on the order in
which records come, as long as no more than `MOST_SPELLS` spells of a group are alive; and a spell's condition
can only become true, earlier and earlier, so steps of the window after that are not needed any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from processors.incidents.group_state import MOST_SPELLS, Group, Spell, earliest
from processors.incidents.news import News
from processors.incidents.rules import IncidentRule
from schemas.tallies import BUCKET_S

#: Of a spell that is no trouble yet; it has less than `at_least` in any window, so this is many windows.
_MOST_BUCKETS: Final = 256


def count_news(rule: IncidentRule, group: Group, news: News) -> None:
    """Add what is new to a group's spells."""
    quiet_ms = rule.quiet_ms
    fresh = _spells(news.times_ms, quiet_ms)
    fresh += [Spell(at_ms, at_ms, counts[0]) for at_ms, counts in news.tallied.items() if counts[0]]
    spells = _joined([*group.spells, *fresh], quiet_ms)
    _place_samples(spells, news)
    group.spells = spells[-MOST_SPELLS:]
    if rule.at_least <= 1:
        for spell in group.spells:
            spell.met_ms = spell.first_ms
        return
    _fill_buckets(rule, group, news)
    for spell in group.spells:
        _judge(rule, group, spell)
    _prune(rule, group)


def _spells(times_ms: list[int], quiet_ms: int) -> list[Spell]:
    if not times_ms:
        return []
    first_ms, last_ms = min(times_ms), max(times_ms)
    if last_ms - first_ms <= quiet_ms:  # nearly always, and it saves the sorting
        return [Spell(first_ms, last_ms, len(times_ms))]
    return [Spell(at_ms, at_ms, count) for at_ms, count in Counter(times_ms).items()]


def _joined(spells: list[Spell], quiet_ms: int) -> list[Spell]:
    spells.sort(key=lambda spell: spell.first_ms)
    joined: list[Spell] = []
    for spell in spells:
        if joined and spell.first_ms - joined[-1].last_ms <= quiet_ms:
            _join(joined[-1], spell)
        else:
            joined.append(spell)
    return joined


def _join(into: Spell, spell: Spell) -> None:
    into.last_ms = max(into.last_ms, spell.last_ms)
    into.count += spell.count
    into.met_ms = _least((into.met_ms, spell.met_ms))
    if spell.samples:
        into.samples = earliest(into.samples + spell.samples)


def _least(times_ms: Iterable[int | None]) -> int | None:
    return min((at_ms for at_ms in times_ms if at_ms is not None), default=None)


def _place_samples(spells: list[Spell], news: News) -> None:
    if not news.samples:
        return
    for spell in spells:
        # Samples have the time of their receipt, what a tally counts that of the beginning of its bucket.
        until_ms = spell.last_ms + BUCKET_S * 1000
        within = [sample for sample in news.samples if spell.first_ms <= sample.at_ms < until_ms]
        if within:
            spell.samples = earliest(spell.samples + within)


def _fill_buckets(rule: IncidentRule, group: Group, news: News) -> None:
    bucket_ms = rule.bucket_ms
    counts = Counter([at_ms // bucket_ms for at_ms in news.times_ms])
    for at_ms, (matched, _) in news.tallied.items():
        counts[at_ms // bucket_ms] += matched
    for index, count in counts.items():
        group.buckets.setdefault(index, [0, 0])[0] += count


def _judge(rule: IncidentRule, group: Group, spell: Spell) -> None:
    """Find the first step at whose end a window held enough. Two spells are never in one window (`quiet_ms`)."""
    bucket_ms, held = rule.bucket_ms, 0
    of_spell = sorted(
        index for index in group.buckets if spell.first_ms // bucket_ms <= index <= spell.last_ms // bucket_ms
    )
    oldest = 0
    for index in of_spell:
        held += group.buckets[index][0]
        while of_spell[oldest] <= index - rule.window_buckets:
            held -= group.buckets[of_spell[oldest]][0]
            oldest += 1
        if held >= rule.at_least:
            spell.met_ms = _least((spell.met_ms, index * bucket_ms))
            return


def _prune(rule: IncidentRule, group: Group) -> None:
    bucket_ms, kept = rule.bucket_ms, {}
    for spell in group.spells:
        last_ms = spell.last_ms if spell.met_ms is None else spell.met_ms
        of_spell = [i for i in group.buckets if spell.first_ms // bucket_ms <= i <= last_ms // bucket_ms]
        kept.update({index: group.buckets[index] for index in sorted(of_spell)[-_MOST_BUCKETS:]})
    group.buckets = kept
