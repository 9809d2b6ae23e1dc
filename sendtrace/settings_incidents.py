"""`[incidents]` and `[[incidents.rules]]`: what counts as trouble, in the units people speak in.

Refuses a rule that could never hold, that says the same as another, or that has keys of another kind of rule: a
threshold nobody reads would be found on the wrong night. Which classes there are is known only with the
classifier's rules, so that is looked at in `faults_of_classes`, at the start and by `sendtrace check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from processors.incidents.rules import (
    DEFAULT_RULES,
    MATCH_WORDS,
    OF_WORDS,
    GroupLabel,
    IncidentRule,
    conflicts,
    counts_failures_only,
    unknown_words,
)
from schemas.incidents import IncidentKind, Severity
from sendtrace.settings_table import SettingsTable, listed

_MOST_RULES: Final = 50
_MOST_WORDS: Final = 50
_MOST_MINUTES: Final = 24 * 60
_MOST_COUNT: Final = 1_000_000_000
_PARTS: Final = 1_000_000
_MINUTE_S: Final = 60
_MINUTES: Final = f"a whole number of minutes from 1 to {_MOST_MINUTES} (a day)"
_COUNT: Final = "a whole number from 1 to a thousand million"

_NAME: Final = r"^[a-z][a-z0-9_-]{0,62}$"
_WORD: Final = r"^[a-z][a-z0-9_-]{0,62}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Word = Annotated[str, StringConstraints(pattern=_WORD)]
Minutes = Annotated[int, Field(ge=1, le=_MOST_MINUTES)]
Count = Annotated[int, Field(ge=1, le=_MOST_COUNT)]

#: Which keys a kind of rule has beside those of all.
_KEYS: Final[Mapping[IncidentKind, frozenset[str]]] = {
    "count": frozenset({"match", "group_by", "at_least", "window_minutes"}),
    "rate": frozenset({"match", "group_by", "of", "rate_above", "at_least", "matched_at_least", "window_minutes"}),
    "silence": frozenset({"after_minutes", "expected_at_least"}),
}
_NEEDED: Final[Mapping[IncidentKind, tuple[str, ...]]] = {
    "count": ("match",),
    "rate": ("match", "of", "rate_above"),
    "silence": (),
}
_SHARED: Final = frozenset({"name", "kind", "quiet_minutes", "severity", "advice", "enabled"})


class IncidentRuleSettings(SettingsTable):
    """One `[[incidents.rules]]`. Its name replaces the built-in rule of the same name."""

    name: Name = Field(description="a name of a-z, 0-9, - and _ that begins with a letter, at most 63 long")
    kind: Literal["count", "rate", "silence"] = Field(description="count, rate or silence")
    match: Annotated[tuple[Word, ...], BeforeValidator(listed)] = Field(
        default=(),
        max_length=_MOST_WORDS,
        description=f"a list of up to {_MOST_WORDS} words, each a class or one of {', '.join(MATCH_WORDS)}",
    )
    of: str | None = Field(default=None, description=f"one of {', '.join(OF_WORDS)}")
    group_by: Annotated[tuple[GroupLabel, ...], BeforeValidator(listed)] = Field(
        default=(), description="a list of campaign_id, class and domain; the source is always in it"
    )
    at_least: Count | None = Field(default=None, description=_COUNT)
    matched_at_least: Count | None = Field(default=None, description=_COUNT)
    rate_above: float | None = Field(
        default=None, gt=0, lt=1, description="a share above 0 and below 1, such as 0.02 for 2 %"
    )
    window_minutes: Minutes | None = Field(default=None, description=_MINUTES)
    after_minutes: Minutes | None = Field(default=None, description=_MINUTES)
    expected_at_least: Count | None = Field(default=None, description=_COUNT)
    quiet_minutes: Minutes | None = Field(default=None, description=_MINUTES)
    severity: Severity = Field(default="warning", description="info, warning, error or critical")
    advice: Annotated[str, StringConstraints(max_length=1_000)] = Field(
        default="", description="what to do about it, a text of up to 1000 characters"
    )
    enabled: bool = Field(default=True, description="true or false")

    @model_validator(mode="after")
    def _has_the_keys_of_its_kind(self) -> Self:
        known, needed = _KEYS[self.kind] | _SHARED, _NEEDED[self.kind]
        for key in sorted(self.model_fields_set - known):
            raise ValueError(
                f"rule {self.name} has {key}, which a rule of kind {self.kind} does not have; remove it"
                f" (it has {', '.join(sorted(_KEYS[self.kind]))})"
            )
        for key in needed:
            if not getattr(self, key):
                raise ValueError(
                    f"rule {self.name} has no {key}, which a rule of kind {self.kind} needs; add it,"
                    f" {type(self).model_fields[key].description}"
                )
        return self

    @model_validator(mode="after")
    def _could_work(self) -> Self:
        if self.of is not None and self.of not in OF_WORDS:
            raise ValueError(f"rule {self.name} is of {self.of!r}, expected one of {', '.join(OF_WORDS)}; correct it")
        if self.of is not None and self.match == (self.of,):
            raise ValueError(f"rule {self.name} holds {self.of} against themselves; choose another `of`")
        by_failure = sorted({"class", "domain"} & set(self.group_by))
        if by_failure and not (self.kind == "count" and counts_failures_only(self.match)):
            raise ValueError(
                f"rule {self.name} is grouped by {' and '.join(by_failure)}, which only failures have; take that out"
                " of group_by, or count nothing but failures and their classes"
            )
        return self

    def as_rule(self, quiet_minutes: int) -> IncidentRule:
        """What the step is made of. `quiet_minutes` is for rules that say none themselves."""
        minutes = (self.after_minutes or 30) if self.kind == "silence" else (self.window_minutes or _MINUTE_S)
        least = (self.expected_at_least or 20) if self.kind == "silence" else self.at_least
        return IncidentRule(
            self.name,
            self.kind,
            match=self.match,
            of=self.of or "",
            group_by=self.group_by,
            at_least=least or (1 if self.kind == "count" else 50),
            matched_at_least=self.matched_at_least or 1,
            above_ppm=round((self.rate_above or 0) * _PARTS),
            window_s=minutes * _MINUTE_S,
            quiet_s=(self.quiet_minutes or quiet_minutes) * _MINUTE_S,
            severity=self.severity,
            advice=self.advice,
        )


class IncidentsSettings(SettingsTable):
    """`[incidents]`: the built-in rules hold unless one is disabled or replaced by one of its name."""

    quiet_minutes: Minutes = Field(default=60, description=_MINUTES)
    disable: Annotated[tuple[Name, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=_MOST_RULES, description="a list of names of rules"
    )
    rules: Annotated[tuple[IncidentRuleSettings, ...], BeforeValidator(listed)] = Field(
        default=(), max_length=_MOST_RULES, description=f"up to {_MOST_RULES} tables [[incidents.rules]]"
    )

    @model_validator(mode="after")
    def _what_is_disabled_exists(self) -> Self:
        names = {rule.name for rule in DEFAULT_RULES} | {rule.name for rule in self.rules}
        for name in self.disable:
            if name not in names:
                raise ValueError(f"disable names {name!r}, and there is no such rule; {_hint(name, names)}")
        return self

    @model_validator(mode="after")
    def _no_rule_says_what_another_says(self) -> Self:
        for fault in conflicts([rule.as_rule(self.quiet_minutes) for rule in self.rules]):
            raise ValueError(fault)
        for fault in conflicts(self.in_force()):
            raise ValueError(fault)
        return self

    def in_force(self) -> tuple[IncidentRule, ...]:
        """The built-in rules with those of the settings instead or beside, without what is switched off."""
        quiet_s = self.quiet_minutes * _MINUTE_S
        rules = {rule.name: rule._replace(quiet_s=quiet_s) for rule in DEFAULT_RULES}
        rules.update({rule.name: rule.as_rule(self.quiet_minutes) for rule in self.rules})
        off = {*self.disable, *(rule.name for rule in self.rules if not rule.enabled)}
        return tuple(rule for name, rule in rules.items() if name not in off)

    def faults_of_classes(self, classes: Iterable[str]) -> list[str]:
        """One line for each word of a rule that is no class of these either."""
        known = {*classes, *MATCH_WORDS}
        return [
            f"incidents.rules: rule {rule}: there is no class or status {word!r}; {_hint(word, known)}"
            for rule, word in unknown_words(self.in_force(), known)
        ]


class HasIncidents(Protocol):
    """The settings, as far as they matter here."""

    @property
    def incidents(self) -> IncidentsSettings:
        """`[incidents]`."""
        ...


def incident_rules_of(settings: HasIncidents) -> tuple[IncidentRule, ...]:
    """The rules in force, for whoever makes an `IncidentStep`."""
    return settings.incidents.in_force()


def _hint(word: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
