"""Rules that watch for silence: a source that normally posts, and does not.

What would have come is told by the source's own past: for every hour the median of the same hour of the earlier
days, but no more than a week before, so that a quiet weekend is none; with less than a day of past, the average
of it all. A source must have posted in `_LEAST_HOURS` different hours before its silence means anything. Postbacks
are expected in order of receipt here, give or take `LATENESS_MS`; one that comes later does not undo a silence.
"""

from __future__ import annotations

from statistics import median
from typing import Final

from processors.incidents.group_state import MOST_SPELLS, Group, Spell
from processors.incidents.news import News
from processors.incidents.rules import SETTLED_MS, IncidentRule

_HOUR_MS: Final = 3_600_000
_DAY_HOURS: Final = 24
_WEEK_DAYS: Final = 7
_KEPT_HOURS: Final = (_WEEK_DAYS + 1) * _DAY_HOURS
_LEAST_HOURS: Final = 6
#: A source that was quiet for longer without being missed is forgotten.
FORGOTTEN_MS: Final = _KEPT_HOURS * _HOUR_MS


def hear(rule: IncidentRule, group: Group, news: News) -> None:
    """Add the postbacks that came, and find the silences between them."""
    for at_ms in sorted(news.tallied):
        if group.heard_ms < 0:
            group.heard_ms = at_ms
        elif at_ms > group.heard_ms:
            _end_silence(rule, group, at_ms)
            group.heard_ms = at_ms
        hour = at_ms // _HOUR_MS
        group.hours[hour] = group.hours.get(hour, 0) + news.tallied[at_ms][1]
    oldest = group.heard_ms // _HOUR_MS - _KEPT_HOURS
    if group.hours and min(group.hours) < oldest:
        group.hours = {hour: count for hour, count in group.hours.items() if hour >= oldest}


def missed_until(rule: IncidentRule, group: Group, watermark_ms: int) -> int | None:
    """Look whether the source should have posted by now; when to look again, `None` for never."""
    spell = group.spells[-1] if group.spells else None
    if group.heard_ms < 0 or (spell is not None and spell.ended_ms is None) or _is_closed(group):
        return None
    look_ms = group.heard_ms + rule.window_s * 1000 + SETTLED_MS
    if watermark_ms < look_ms:
        return look_ms
    found = _missed_ms(rule, group)
    if found is None:
        return None
    if watermark_ms < found[0] + SETTLED_MS:
        return found[0] + SETTLED_MS
    _begin(group, found, None)
    return None


def _end_silence(rule: IncidentRule, group: Group, at_ms: int) -> None:
    spell = group.spells[-1] if group.spells else None
    if spell is not None and spell.ended_ms is None:
        spell.ended_ms = spell.last_ms = max(at_ms, spell.met_ms or at_ms)
    elif at_ms - group.heard_ms > rule.window_s * 1000 and not _is_closed(group):
        found = _missed_ms(rule, group)
        if found is not None and found[0] < at_ms:
            _begin(group, found, at_ms)


def _is_closed(group: Group) -> bool:
    """Whether somebody closed the incident of this very silence."""
    return group.told is not None and group.told.point_ms == group.heard_ms


def _begin(group: Group, found: tuple[int, int], ended_ms: int | None) -> None:
    missed_ms, expected = found
    last_ms = missed_ms if ended_ms is None else ended_ms
    spell = Spell(group.heard_ms, last_ms, 0, total=expected, met_ms=missed_ms, ended_ms=ended_ms)
    group.spells = [*group.spells, spell][-MOST_SPELLS:]


def _missed_ms(rule: IncidentRule, group: Group) -> tuple[int, int] | None:
    """When so many postbacks as the rule asks for would have come since the last one, and how many."""
    heard_ms = group.heard_ms
    if sum(1 for count in group.hours.values() if count) < _LEAST_HOURS:
        return None
    from_ms, expected = heard_ms, 0.0
    earliest_ms = heard_ms + rule.window_s * 1000
    while from_ms < heard_ms + FORGOTTEN_MS:
        hour = from_ms // _HOUR_MS
        to_ms = (hour + 1) * _HOUR_MS
        an_hour = _expected(group.hours, hour, heard_ms // _HOUR_MS)
        grown = expected + an_hour * (to_ms - from_ms) / _HOUR_MS
        if grown >= rule.at_least and to_ms >= earliest_ms:
            wanting = max(0.0, rule.at_least - expected)
            reached_ms = from_ms + int(wanting * _HOUR_MS / an_hour) if wanting else from_ms
            at_ms = max(earliest_ms, reached_ms)
            return at_ms, round(expected + an_hour * (at_ms - from_ms) / _HOUR_MS)
        from_ms, expected = to_ms, grown
    return None


def _expected(hours: dict[int, int], hour: int, heard: int) -> float:
    """Postbacks in an hour of the clock, by the hours up to `heard`."""
    first = min(hours)
    same = [day_hour for day in range(1, _WEEK_DAYS + 1) if first <= (day_hour := hour - day * _DAY_HOURS) <= heard]
    if not same:
        lately = sum(count for at, count in hours.items() if at > heard - _DAY_HOURS)
        return lately / _DAY_HOURS
    usual = float(median(hours.get(at, 0) for at in same))
    a_week_ago = hour - _WEEK_DAYS * _DAY_HOURS
    return min(usual, hours.get(a_week_ago, 0)) if a_week_ago >= first else usual
