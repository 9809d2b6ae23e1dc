"""What counts as trouble: the rules of incidents, those that hold unless the settings say otherwise, and ids.

A rule says what it matches, about whom an incident of it is (source always, and what `group_by` adds) and
when it is trouble: so many within a time, a share of something, or nothing at all for too long.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import combinations
from typing import Final, Literal, NamedTuple

import orjson

from schemas.incidents import IncidentKind, Severity
from schemas.statuses import FAILURE_WORDS, STATUS
from schemas.tallies import BUCKET_S

GroupLabel = Literal["campaign_id", "class", "domain"]

#: Words of `match` that are neither a status nor a class.
FAILURES: Final = "failures"
DEAD_LETTERS: Final = "dead_letters"
POSTBACKS: Final = "postbacks"
#: What a rate may be of, beside the statuses: messages that came to an end, in whatever way.
FINALS: Final = "finals"
OF_WORDS: Final = (FINALS, POSTBACKS, *(word for word in STATUS if word not in FAILURE_WORDS))
MATCH_WORDS: Final = (FAILURES, DEAD_LETTERS, POSTBACKS, *STATUS)

#: Postbacks may come so much later than younger ones and still be judged with those of their time.
LATENESS_MS: Final = 15_000
#: A window is looked at in so many steps; more would not be seen in a title, and each costs state.
_STEPS: Final = 180
_BUCKET_MS: Final = BUCKET_S * 1000
#: After this nothing of a time is missing: a tally's time is the beginning of its ten seconds.
SETTLED_MS: Final = LATENESS_MS + _BUCKET_MS
_PARTS: Final = 1_000_000
_LEAST_ESCALATED_FROM: Final = 10


class IncidentRule(NamedTuple):
    """One rule; times in seconds.

    `kind` count: at least `at_least` within `window_s`. rate: what matches is more than `above_ppm` millionths of
    `of` over `window_s`, with at least `at_least` of `of` and `matched_at_least` that match. silence: no postback
    for `window_s` although at least `at_least` were to be expected; it matches nothing. `match` words are joined
    by "or": a status, a class, `failures`, `dead_letters` or `postbacks`. `class` and `domain` are known of
    failures only, so only a count of failures can be grouped by them. `advice`: empty takes that of the class.
    """

    name: str
    kind: IncidentKind
    match: tuple[str, ...] = ()
    of: str = ""
    group_by: tuple[GroupLabel, ...] = ()
    at_least: int = 1
    matched_at_least: int = 1
    above_ppm: int = 0
    window_s: int = 3600
    quiet_s: int = 3600
    severity: Severity = "warning"
    advice: str = ""

    @property
    def bucket_ms(self) -> int:
        """The step in which the window is looked at: whole buckets of tallies."""
        return max(1, -(-self.window_s * 1000 // _STEPS // _BUCKET_MS)) * _BUCKET_MS

    @property
    def window_buckets(self) -> int:
        """How many steps a window has."""
        return -(-self.window_s * 1000 // self.bucket_ms)

    @property
    def quiet_ms(self) -> int:
        """So long without trouble ends it. What one window of a count could hold together stays together."""
        return 1000 * (max(self.quiet_s, self.window_s) if self.kind == "count" else self.quiet_s)

    @property
    def escalated_from(self) -> int:
        """An incident grows a step worse at ten times as many, at a hundred times, and so on."""
        least = -(-self.at_least * self.above_ppm // _PARTS) if self.kind == "rate" else self.at_least
        return max(_LEAST_ESCALATED_FROM, least, self.matched_at_least)

    def is_too_much(self, matched: int, total: int) -> bool:
        """Whether a rate of a window is trouble."""
        return (
            total >= self.at_least
            and matched >= self.matched_at_least
            and matched * _PARTS > self.above_ppm * max(total, matched)
        )


class Labels(NamedTuple):
    """Who an incident is about. `provider` follows from the source and makes no difference to the id."""

    source: str
    provider: str
    campaign_id: str | None = None
    bounce_class: str | None = None
    domain: str | None = None


def group_id(rule: str, labels: Labels) -> str:
    """32 hex digits, the same for the same trouble for ever: the id of the group and of its incident."""
    about = [rule, labels.source, labels.campaign_id, labels.bounce_class, labels.domain]
    return blake2b(orjson.dumps(about), digest_size=16).hexdigest()


def unknown_words(rules: Iterable[IncidentRule], known: Container[str]) -> Iterator[tuple[str, str]]:
    """The name of a rule and a word it matches that is not known."""
    return ((rule.name, word) for rule in rules for word in rule.match if word not in known)


def conflicts(rules: Sequence[IncidentRule]) -> Iterator[str]:
    """One line for each two rules of which one would do, or of which nobody could tell which one is meant."""
    for one, other in combinations(rules, 2):
        if one.name == other.name:
            yield f"rules has two rules of the name {one.name}, expected one; rename or remove one of them"
        elif _about(one) == _about(other):
            yield (
                f"rules has {other.name}, which overlaps with {one.name}: they match the same with the same grouping;"
                f" remove one of them, or give it the name of the other to replace it"
            )


def counts_failures_only(words: Iterable[str]) -> bool:
    """Whether all words are failures, statuses of failures or classes."""
    return all(word in FAILURE_WORDS or word == FAILURES or word not in MATCH_WORDS for word in words)


def _about(rule: IncidentRule) -> tuple[object, ...]:
    return rule.kind, frozenset(rule.match), rule.of, frozenset(rule.group_by)


_HOUR_S: Final = 3600

DEFAULT_RULES: Final[tuple[IncidentRule, ...]] = (
    # Not abort_liquid: a template that decides not to send is mostly meant to.
    IncidentRule(
        "abort_template",
        "count",
        match=("abort_template_error",),
        group_by=("campaign_id", "class"),
        severity="error",
    ),
    # `bounced` is the verdict of both providers for a refusal for good. Not `undelivered` and `expired`, an
    # operator's words for a phone that was off, nor `rejected`, which never reached a receiver.
    IncidentRule(
        "bounce_rate",
        "rate",
        match=("bounced",),
        of=FINALS,
        group_by=("campaign_id",),
        at_least=50,
        above_ppm=20_000,
        severity="error",
    ),
    # The large mailbox providers ask senders to stay below 0.1 %.
    IncidentRule(
        "complaint_rate",
        "rate",
        match=("complained",),
        of="delivered",
        group_by=("campaign_id",),
        at_least=1000,
        above_ppm=1_000,
        window_s=24 * _HOUR_S,
        advice="Look at who the campaign goes to and whether they asked for it; make leaving it easy."
        " Mailbox providers begin to refuse a sender above 0.1 % of complaints.",
    ),
    IncidentRule(
        "refused_by_domain",
        "count",
        match=("authentication", "block_list"),
        group_by=("class", "domain"),
        at_least=5,
        severity="error",
    ),
    IncidentRule(
        "unknown_status",
        "count",
        match=("unknown",),
        advice="The provider says something new. The messages keep their last known status; look the word up in the"
        " provider's documentation, and have it added to the provider's file.",
    ),
    IncidentRule(
        "dead_letters",
        "rate",
        match=(DEAD_LETTERS,),
        of=POSTBACKS,
        at_least=10,
        matched_at_least=10,
        above_ppm=10_000,
        advice="See `sendtrace dead list` for what was not understood and why; nothing of it is lost, and"
        " `sendtrace dead retry` handles it once the cause is gone.",
    ),
    IncidentRule(
        "silence",
        "silence",
        at_least=20,
        window_s=1800,
        severity="error",
        advice="Check that the provider still has the postback URL, that it can reach the gateway, and that messages"
        " are being sent at all. What a provider gave up posting does not come again.",
    ),
)
