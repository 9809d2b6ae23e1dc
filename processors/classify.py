"""Why a message failed, in one word of a catalogue, from whatever the provider's reason says.

Rules are data (`bounce_rules.toml`, and a file of the user's that is tried first); the first that
matches decides. The provider's own verdict is kept elsewhere and never overruled here: this says why,
not whether. Bounded in text examined, memory and time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Self

from processors.bounce_rules import ABORT, BOUNCE, BUILT_IN, BounceClass, Rule, RuleFile, RulesError, read_rules
from processors.smtp_reply import Reply, parse_reply
from schemas.statuses import FAILURE_WORDS

CACHE_ENTRIES: Final = 10_000
#: Longer texts are rare and mostly unique; remembering them would only cost memory.
CACHED_MAX_CHARS: Final = 512

UNCLASSIFIED: Final = "unclassified"
ABORT_OTHER: Final = "abort_other"
_DEFAULTS: Final = {BOUNCE: UNCLASSIFIED, ABORT: ABORT_OTHER}
_CLASSED: Final = FAILURE_WORDS | {"deferred"}


class Classification(NamedTuple):
    """A verdict with its evidence. `rule_id` is `None` where no rule matched and the default stands."""

    bounce_class: str
    rule_id: str | None
    smtp_code: str | None
    enhanced_code: str | None


class Classifier:
    """The catalogue and its rules, bound once. `Classifier.load(path)` is the way to make one."""

    def __init__(self, classes: Mapping[str, BounceClass], rules: Sequence[Rule]) -> None:
        self.catalogue = classes
        self._rules = {
            name: tuple(rule for rule in rules if classes[rule.bounce_class].set == name) for name in _DEFAULTS
        }
        # The first remembers texts that come again and again, the second what is left of them without
        # addresses and ids.
        self._by_reason = lru_cache(CACHE_ENTRIES)(self._class_of)
        self._by_reply = lru_cache(CACHE_ENTRIES)(self._decide)

    @classmethod
    def load(cls, extra_rules_path: Path | None) -> Self:
        """Our rules, with those of a file before them. Its own examples must come out as its rules say.

        Raises `RulesError`: one line with file, rule and what was expected.
        """
        ours = read_rules(BUILT_IN)
        if extra_rules_path is None:
            return cls(ours.classes, ours.rules)
        extra = read_rules(extra_rules_path, known=ours)
        classifier = cls({**ours.classes, **extra.classes}, (*extra.rules, *ours.rules))
        _check_examples(extra_rules_path, extra, classifier)
        return classifier

    def classify(self, status: str, provider_status: str, reason: str | None, /) -> str | None:
        """The class of a failure or deferral, `None` for every other status.

        `provider_status` is the provider's word; it is not judged today, the status made of it is.
        """
        del provider_status
        if status not in _CLASSED:
            return None
        if reason is not None and len(reason) > CACHED_MAX_CHARS:
            return self._class_of(status, reason)
        return self._by_reason(status, reason)

    def explain(self, status: str, reason: str | None) -> Classification | None:
        """`classify` with its evidence, for people and tests."""
        return self._explain(status, parse_reply(reason or "")) if status in _CLASSED else None

    def _class_of(self, status: str, reason: str | None) -> str:
        reply = parse_reply(reason or "")
        decide = self._by_reply if len(reply.words) <= CACHED_MAX_CHARS else self._decide
        return decide(status, reply)

    def _decide(self, status: str, reply: Reply) -> str:
        return self._explain(status, reply).bounce_class

    def _explain(self, status: str, reply: Reply) -> Classification:
        set_ = ABORT if status == "aborted" else BOUNCE
        for rule in self._rules[set_]:
            if rule.matches(reply, status):
                return Classification(rule.bounce_class, rule.id, reply.code, reply.enhanced)
        return Classification(_DEFAULTS[set_], None, reply.code, reply.enhanced)


def _check_examples(path: Path, extra: RuleFile, classifier: Classifier) -> None:
    for rule in extra.rules:
        status = "aborted" if classifier.catalogue[rule.bounce_class].set == ABORT else "bounced"
        for example in rule.examples:
            found = classifier.explain(min(rule.status, default=status), example)
            if found is None or found.rule_id != rule.id:
                decided = found.rule_id if found else None
                raise RulesError(f"{path}: rule '{rule.id}': rule '{decided}' decides an example, expected this one")


__all__ = ["ABORT_OTHER", "UNCLASSIFIED", "Classification", "Classifier", "RulesError"]
