"""Which group each failure and each tally is news of. Sorts, counts and samples; decides nothing.

Failure statuses and classes are counted from failures, one by one, everything else from tallies, whose times are
the beginnings of their ten seconds. Only a rate of nothing but statuses takes these from tallies too, so that both
of its counts come from the same records and it stays a share however far one of the two streams is behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from processors.incidents.group_state import MOST_REASON_CHARS, Sample
from processors.incidents.news import MsClock, News, bucket_failures, first_failures
from processors.incidents.rating import SAMPLES_A_BUCKET
from processors.incidents.receiving_domain import receiving_domain
from processors.incidents.rules import DEAD_LETTERS, FAILURES, FINALS, POSTBACKS, IncidentRule, Labels
from schemas.records import Transition
from schemas.statuses import DELIVERED, FAILURE_WORDS, STATUS
from schemas.tallies import Tally

DEAD_LETTER: Final = "dead_letter"

#: source, provider, campaign, class, status
_Kind = tuple[str, str, str | None, str | None, str]
#: What a group is found by within one step: the rule's name and whom it is about.
GroupKey = tuple[str, Labels]


class _Matcher(NamedTuple):
    """A rule, and which words of it are looked for where. `counts_failures`: else they are only its samples."""

    rule: IncidentRule
    failure_words: frozenset[str]
    classes: frozenset[str]
    counts_failures: bool
    tally_words: frozenset[str]

    def takes(self, bounce_class: str | None, status: str) -> bool:
        return status in self.failure_words or bounce_class in self.classes


def _matcher(rule: IncidentRule) -> _Matcher:
    words = frozenset(rule.match)
    failing = FAILURE_WORDS if FAILURES in words else words & FAILURE_WORDS
    classes = words - STATUS.keys() - {FAILURES, DEAD_LETTERS, POSTBACKS}
    from_failures = rule.kind == "count" or bool(classes)
    others = words - classes - FAILURE_WORDS - {FAILURES}
    return _Matcher(rule, failing, classes, from_failures, others if from_failures else others | failing)


class Collector:
    """Used by one thread; remembers only what follows from the rules."""

    def __init__(self, rules: Sequence[IncidentRule]) -> None:
        self._matchers = [_matcher(rule) for rule in rules]
        self._tallying = [
            each for each in self._matchers if each.tally_words or each.rule.of or each.rule.kind == "silence"
        ]
        self._takers: dict[tuple[str | None, str], list[_Matcher]] = {}
        self._ms = MsClock()

    def collect(self, failures: Iterable[Transition], tallies: Iterable[Tally]) -> dict[GroupKey, News]:
        """The news of every group there are any of."""
        found: dict[GroupKey, News] = {}
        for kind, alike in _by_kind(failures).items():
            self._take_failures(found, kind, alike)
        for tally in tallies:
            at_ms = self._ms(tally["bucket_at"])
            for matcher in self._tallying:
                self._take_tally(found, matcher, tally, at_ms)
        return found

    def _take_failures(self, found: dict[GroupKey, News], kind: _Kind, alike: list[Transition]) -> None:
        source, provider, campaign_id, bounce_class, status = kind
        takers = self._takers.get((bounce_class, status))
        if takers is None:
            takers = [each for each in self._matchers if each.takes(bounce_class, status)]
            self._takers[bounce_class, status] = takers
        for matcher in takers:
            by = matcher.rule.group_by
            labels = Labels(
                source,
                provider,
                campaign_id if "campaign_id" in by else None,
                bounce_class if "class" in by else None,
            )
            if "domain" not in by:
                self._add_failures(_news(found, matcher.rule, labels), matcher, alike)
                continue
            for domain, of_domain in _by_domain(alike).items():
                self._add_failures(_news(found, matcher.rule, labels._replace(domain=domain)), matcher, of_domain)

    def _add_failures(self, news: News, matcher: _Matcher, alike: list[Transition]) -> None:
        ms = self._ms
        times_ms = [ms(failure["received_at"]) for failure in alike] if matcher.counts_failures else []
        news.times_ms += times_ms
        if matcher.rule.kind == "rate":
            news.samples += bucket_failures(alike, ms, matcher.rule.bucket_ms, SAMPLES_A_BUCKET)
        else:
            news.samples += first_failures(alike, times_ms, ms, matcher.rule.quiet_ms)

    def _take_tally(self, found: dict[GroupKey, News], matcher: _Matcher, tally: Tally, at_ms: int) -> None:
        rule = matcher.rule
        matched, total = _matched(matcher.tally_words, tally), _total(rule, tally)
        if not (matched or total):
            return
        campaign_id = tally["campaign_id"] if "campaign_id" in rule.group_by else None
        news = _news(found, rule, Labels(tally["source"], tally["provider"], campaign_id))
        news.tally(at_ms, matched, total)
        if matched and tally["samples"]:
            news.samples += self._samples(matcher.tally_words, tally)

    def _samples(self, words: frozenset[str], tally: Tally) -> list[Sample]:
        samples = []
        for each in tally["samples"]:
            dead = each["word"] in tally["dead"] and each["message_id"] is None
            if (DEAD_LETTERS if dead else each["word"]) in words:
                status = DEAD_LETTER if dead else each["word"]
                told = f"{each['word']}: {each['told']}" if dead else each["told"]
                at_ms = self._ms(each["received_at"])
                text = told[:MOST_REASON_CHARS]
                samples.append(Sample(at_ms, each["receipt_id"], each["message_id"], status, text, None))
        return samples


def _by_kind(failures: Iterable[Transition]) -> Mapping[_Kind, list[Transition]]:
    """Those that no rule could tell apart but by their domains."""
    kinds: dict[_Kind, list[Transition]] = {}
    for failure in failures:
        kind = (
            failure["source"],
            failure["provider"],
            failure["campaign_id"],
            failure["bounce_class"],
            failure["status"],
        )
        alike = kinds.get(kind)
        if alike is None:
            kinds[kind] = [failure]
        else:
            alike.append(failure)
    return kinds


def _by_domain(failures: Iterable[Transition]) -> Mapping[str | None, list[Transition]]:
    domains: dict[str | None, list[Transition]] = {}
    for failure in failures:
        domains.setdefault(receiving_domain(failure["reason"]), []).append(failure)
    return domains


def _news(found: dict[GroupKey, News], rule: IncidentRule, labels: Labels) -> News:
    news = found.get((rule.name, labels))
    if news is None:
        news = found[rule.name, labels] = News(labels)
    return news


def _matched(words: frozenset[str], tally: Tally) -> int:
    matched = 0
    for word, count in tally["counts"].items():
        if word in words:
            matched += count
    if DEAD_LETTERS in words:
        matched += sum(tally["dead"].values())
    if POSTBACKS in words:
        matched += tally["postbacks"]
    return matched


def _total(rule: IncidentRule, tally: Tally) -> int:
    if rule.kind == "silence" or rule.of == POSTBACKS:
        return tally["postbacks"]
    counts = tally["counts"]
    if rule.of == FINALS:
        failed = sum(count for word, count in counts.items() if word in FAILURE_WORDS)
        return max(0, counts.get(DELIVERED, 0) + failed - tally["reversed"])
    return counts.get(rule.of, 0) if rule.of else 0
