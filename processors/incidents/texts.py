"""What an incident says to people: one plain line on what, how many and where, and what to do about it.

Ids and words in it come from outside, so they are cut and kept on the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from processors.bounce_rules import BounceClass
from processors.incidents.group_state import Group, Spell
from processors.incidents.rules import DEAD_LETTERS, FAILURES, FINALS, POSTBACKS, IncidentRule, Labels
from schemas.statuses import STATUS
from schemas.times import iso_ms

_MOST_SHOWN: Final = 80
_MOST_WORDS: Final = 3
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600

#: What is counted, many of it and one.
_NOUNS: Final = {
    "bounced": ("bounces", "bounce"),
    "aborted": ("aborts", "abort"),
    "complained": ("complaints", "complaint"),
    "unknown": ("unknown statuses", "unknown status"),
    FAILURES: ("failures", "failure"),
    DEAD_LETTERS: ("dead letters", "dead letter"),
    POSTBACKS: ("postbacks", "postback"),
}
_OF: Final = {FINALS: "messages", POSTBACKS: "postbacks"}


def title_of(rule: IncidentRule, labels: Labels, spell: Spell) -> str:
    """`Bounces 6.2 % of campaign welcome (31 of 500 in 60 min), braze`."""
    if rule.kind == "silence":
        missed = f"about {spell.total:,} expected by {_clock(spell.met_ms or spell.last_ms)}"
        return f"No postbacks from {_shown(labels.source)} since {_clock(spell.first_ms)} ({missed})"
    where = _where(labels)
    if rule.kind == "rate":
        matched, total = spell.window
        span = _span(rule.window_s)
        noun = _capital(_noun(rule))
        if labels.campaign_id is None:
            of = _OF.get(rule.of, rule.of)
            return f"{noun} {_percent(matched, total)} of {of} ({matched:,} of {total:,} in {span}){where}"
        about = f"of campaign {_shown(labels.campaign_id)}"
        return f"{noun} {_percent(matched, total)} {about} ({matched:,} of {total:,} in {span}){where}"
    return f"{spell.count:,} {_counted(rule, labels, spell)}{where}"


def advice_of(rule: IncidentRule, group: Group, spell: Spell, catalogue: Mapping[str, BounceClass]) -> str:
    """The rule's own, else that of the class, else that of the class most of the samples have."""
    if rule.advice:
        return rule.advice
    if group.labels.bounce_class is not None:
        return _advice(group.labels.bounce_class, catalogue)
    classes = Counter(sample.bounce_class for sample in spell.samples if sample.bounce_class is not None)
    if not classes:
        return "Look at the samples: their reasons are the provider's own words."
    commonest = min(classes, key=lambda name: (-classes[name], name))
    return f"Mostly {commonest}: {_advice(commonest, catalogue)}"


def _advice(name: str, catalogue: Mapping[str, BounceClass]) -> str:
    found = catalogue.get(name)
    return f"{found.meaning} {found.advice}" if found else "Look at the reasons of the samples."


def _noun(rule: IncidentRule, count: int = 2) -> str:
    nouns = [_named(word, count) for word in rule.match]
    nouns = nouns or [rule.name]  # of a rule that is gone nothing else is known
    shown = nouns[:_MOST_WORDS] + (["more"] if len(nouns) > _MOST_WORDS else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _named(word: str, count: int) -> str:
    if word in _NOUNS:
        return _NOUNS[word][count == 1]
    return word if word in STATUS else f"{_NOUNS[FAILURES][count == 1]} of class {_shown(word)}"


def _counted(rule: IncidentRule, labels: Labels, spell: Spell) -> str:
    campaign = f" of campaign {_shown(labels.campaign_id)}" if labels.campaign_id is not None else ""
    if labels.bounce_class is not None:
        statuses = sorted({sample.status for sample in spell.samples})
        did = statuses[0] if len(statuses) == 1 else "failed"
        receiver = f" by {_shown(labels.domain)}" if labels.domain is not None else ""
        return f"message{'' if spell.count == 1 else 's'}{campaign} {did} ({_shown(labels.bounce_class)}){receiver}"
    words = sorted({sample.reason for sample in spell.samples if sample.reason}) if rule.match == ("unknown",) else []
    said = f" ({', '.join(_shown(word) for word in words[:_MOST_WORDS])})" if words else ""
    receiver = f" by {_shown(labels.domain)}" if labels.domain is not None else ""
    return f"{_noun(rule, spell.count)}{said}{campaign}{receiver}"


def _where(labels: Labels) -> str:
    return f", {_shown(labels.source)}"


def _percent(matched: int, total: int) -> str:
    share = 100 * matched / max(1, total)
    return f"{share:.1f} %" if share >= 1 else f"{share:.2g} %"


def _span(window_s: int) -> str:
    if window_s < 2 * _MINUTE_S:
        return f"{window_s} s"
    return f"{window_s // _MINUTE_S} min" if window_s <= 2 * _HOUR_S else f"{window_s // _HOUR_S} h"


def _clock(at_ms: int) -> str:
    return f"{iso_ms(at_ms)[11:16]} UTC"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(text: str) -> str:
    """One word or a few, whatever was sent as such."""
    flat = "".join(letter if letter.isprintable() else " " for letter in text[: _MOST_SHOWN + 1])
    return flat if len(flat) <= _MOST_SHOWN else flat[:_MOST_SHOWN] + "…"
