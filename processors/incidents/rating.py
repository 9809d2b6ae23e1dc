"""Rules that hold one count against another over a sliding window, in steps.

A step is judged once the watermark is `LATENESS_MS` past its end, so that what is judged does not depend on
how records were batched, nor on their order within that time. A spell begins with what first matched in the
window that was too much, and reaches to what last matched while it was; all that matched between is counted.
Later records are counted where they belong as far as that is still known, and change no judgement.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from processors.incidents.group_state import MOST_SPELLS, Group, Sample, Spell, earliest
from processors.incidents.news import News
from processors.incidents.rules import LATENESS_MS, IncidentRule
from schemas.incidents import MOST_INCIDENT_SAMPLES

#: Before a spell begins nobody knows which samples will be its own, so a few of each step are held ready.
SAMPLES_A_BUCKET: Final = 2


def rate_news(rule: IncidentRule, group: Group, news: News) -> None:
    """Add what is new to the steps of a group's window."""
    bucket_ms = rule.bucket_ms
    for at_ms in news.times_ms:
        _add(rule, group, at_ms // bucket_ms, 1, 0)
    for at_ms, (matched, total) in news.tallied.items():
        _add(rule, group, at_ms // bucket_ms, matched, total)
    wanted = [sample for sample in news.samples if not _is_for_nobody(rule, group, sample)]
    if wanted:
        group.candidates = _few_of_each(group.candidates + wanted, bucket_ms)


def _add(rule: IncidentRule, group: Group, index: int, matched: int, total: int) -> None:
    if index <= group.judged:  # late
        _add_late(rule, group, index, matched, total)
        if index <= group.judged - rule.window_buckets:
            return  # of no window that is still to be judged
    counts = group.buckets.get(index)
    if counts is None:
        group.buckets[index] = [matched, total]
    else:
        counts[0] += matched
        counts[1] += total


def _add_late(rule: IncidentRule, group: Group, index: int, matched: int, total: int) -> None:
    at_ms = index * rule.bucket_ms
    for spell in group.spells:
        if spell.first_ms <= at_ms < spell.last_ms:
            spell.count += matched
            spell.total = (spell.total or 0) + total
            return
    if group.spells and at_ms >= group.spells[-1].last_ms:
        group.pending[0] += matched
        group.pending[1] += total


def judge_until(rule: IncidentRule, group: Group, watermark_ms: int) -> None:
    """Judge every step that is sure by now, in order, and forget those that no window needs any more."""
    sure = (watermark_ms - LATENESS_MS) // rule.bucket_ms - 1
    matched = total = 0
    indexes = sorted(group.buckets)
    oldest = 0
    for index in indexes:
        if index > sure:
            break
        matched += group.buckets[index][0]
        total += group.buckets[index][1]
        while indexes[oldest] <= index - rule.window_buckets:
            matched -= group.buckets[indexes[oldest]][0]
            total -= group.buckets[indexes[oldest]][1]
            oldest += 1
        if index > group.judged:
            _judge(rule, group, index, matched, total)
    group.judged = max(group.judged, sure)
    _prune(rule, group)


def next_judgement_ms(rule: IncidentRule, group: Group) -> int | None:
    """When there is something to judge again: `None` while everything is."""
    waiting = [index for index in group.buckets if index > group.judged]
    return (min(waiting) + 1) * rule.bucket_ms + LATENESS_MS if waiting else None


def _judge(rule: IncidentRule, group: Group, index: int, matched: int, total: int) -> None:
    group.pending[0] += group.buckets[index][0]
    group.pending[1] += group.buckets[index][1]
    if rule.is_too_much(matched, total):
        spell = _spell_of(rule, group, index)
        spell.window = (matched, max(matched, total))
        group.pending = [0, 0]
    _take_samples(rule, group, index)


def _spell_of(rule: IncidentRule, group: Group, index: int) -> Spell:
    """The spell a window that is too much belongs to: the last one, or a new one after a pause."""
    bucket_ms, buckets = rule.bucket_ms, group.buckets
    before = group.spells[-1] if group.spells else None
    in_window = [i for i in range(index - rule.window_buckets + 1, index + 1) if i in buckets]
    last = max(i for i in in_window if buckets[i][0])
    if before is not None and last * bucket_ms - before.last_ms <= rule.quiet_ms:
        before.last_ms = max(before.last_ms, (last + 1) * bucket_ms)
        before.count += group.pending[0]
        before.total = (before.total or 0) + group.pending[1]
        return before
    free = -1 if before is None else before.last_ms
    first = min(i for i in in_window if buckets[i][0] and i * bucket_ms >= free)
    own = [buckets[i] for i in in_window if i >= first]
    spell = Spell(
        first * bucket_ms,
        (last + 1) * bucket_ms,
        sum(counts[0] for counts in own),
        total=sum(counts[1] for counts in own),
        met_ms=(index + 1) * bucket_ms,
    )
    group.spells = [*group.spells, spell][-MOST_SPELLS:]
    return spell


def _take_samples(rule: IncidentRule, group: Group, index: int) -> None:
    """Hand a spell the samples of its time, and hold the last few others ready for the next one."""
    if not group.candidates:
        return
    bucket_ms = rule.bucket_ms
    spell = group.spells[-1] if group.spells else None
    ready: list[Sample] = []
    for_later: list[Sample] = []
    for sample in group.candidates:
        if sample.at_ms // bucket_ms > index:
            for_later.append(sample)
        elif spell is not None and spell.first_ms <= sample.at_ms < spell.last_ms:
            spell.samples.append(sample)
        else:
            ready.append(sample)
    if spell is not None:
        spell.samples = earliest(spell.samples)
        if len(spell.samples) == MOST_INCIDENT_SAMPLES and (index + 1) * bucket_ms - spell.last_ms <= rule.quiet_ms:
            ready = []
    group.candidates = _few_of_each(ready, bucket_ms)[-MOST_INCIDENT_SAMPLES:] + for_later


def _is_for_nobody(rule: IncidentRule, group: Group, sample: Sample) -> bool:
    """Whether the spell goes on at its time, so that there is no other, and has earlier ones enough."""
    spell = group.spells[-1] if group.spells else None
    if spell is None or len(spell.samples) < MOST_INCIDENT_SAMPLES or sample[:2] < spell.samples[-1][:2]:
        return False
    return (sample.at_ms // rule.bucket_ms + 1) * rule.bucket_ms - spell.last_ms <= rule.quiet_ms


def _few_of_each(samples: list[Sample], bucket_ms: int) -> list[Sample]:
    samples.sort(key=lambda sample: (sample[0], sample[1], sample[3]))
    few = samples[:SAMPLES_A_BUCKET]
    for place in range(SAMPLES_A_BUCKET, len(samples)):
        if samples[place - SAMPLES_A_BUCKET].at_ms // bucket_ms != samples[place].at_ms // bucket_ms:
            few.append(samples[place])
    return few


def _prune(rule: IncidentRule, group: Group) -> None:
    gone = group.judged - rule.window_buckets
    if any(index <= gone for index in group.buckets):
        group.buckets = {index: counts for index, counts in group.buckets.items() if index > gone}
    gone_ms = gone * rule.bucket_ms
    group.candidates = [sample for sample in group.candidates if sample.at_ms >= gone_ms]
    for old, _ in pairwise(group.spells):
        old.samples = []
