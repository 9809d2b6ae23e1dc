"""The one line a person on call reads first."""

from __future__ import annotations

import pytest

from processors.incidents.group_state import Group, Sample, Spell
from processors.incidents.rules import DEFAULT_RULES, IncidentRule, Labels
from processors.incidents.texts import advice_of, title_of
from tests.unit.incident_rig import CATALOGUE, NOON_MS

RULES = {rule.name: rule for rule in DEFAULT_RULES}
WELCOME = Labels("braze", "braze", "welcome")


def spell(count: int, *, status: str = "bounced", window: tuple[int, int] = (0, 0), reason: str = "550") -> Spell:
    samples = [Sample(NOON_MS, "r", "m", status, reason, "policy")]
    return Spell(NOON_MS, NOON_MS, count, total=23, met_ms=NOON_MS + 40 * 60_000, window=window, samples=samples)


@pytest.mark.parametrize(
    ("rule", "labels", "trouble", "title"),
    [
        (
            RULES["abort_template"],
            WELCOME._replace(bounce_class="abort_template_error"),
            spell(12, status="aborted"),
            "12 messages of campaign welcome aborted (abort_template_error), braze",
        ),
        (
            RULES["abort_template"],
            Labels("braze", "braze", None, "abort_template_error"),
            spell(1, status="aborted"),
            "1 message aborted (abort_template_error), braze",
        ),
        (
            RULES["bounce_rate"],
            WELCOME,
            spell(31, window=(31, 500)),
            "Bounces 6.2 % of campaign welcome (31 of 500 in 60 min), braze",
        ),
        (
            RULES["complaint_rate"],
            WELCOME,
            spell(3, window=(3, 2000)),
            "Complaints 0.15 % of campaign welcome (3 of 2,000 in 24 h), braze",
        ),
        (
            RULES["refused_by_domain"],
            Labels("braze", "braze", None, "block_list", "gmail.com"),
            spell(1_234_567),
            "1,234,567 messages bounced (block_list) by gmail.com, braze",
        ),
        (
            RULES["unknown_status"],
            Labels("nrs360", "nrs360"),
            spell(1, status="unknown", reason="paused"),
            "1 unknown status (paused), nrs360",
        ),
        (
            RULES["dead_letters"],
            Labels("nrs360", "nrs360"),
            spell(40, window=(40, 1000)),
            "Dead letters 4.0 % of postbacks (40 of 1,000 in 60 min), nrs360",
        ),
        (
            RULES["silence"],
            Labels("nrs360", "nrs360"),
            spell(0),
            "No postbacks from nrs360 since 12:00 UTC (about 23 expected by 12:40 UTC)",
        ),
        (
            IncidentRule("x", "count", ("bounced", "policy", "expired", "rejected")),
            Labels("braze", "braze"),
            spell(7),
            "7 bounces, failures of class policy, expired and more, braze",
        ),
    ],
)
def test_it_says_what_how_many_and_where(rule: IncidentRule, labels: Labels, trouble: Spell, title: str) -> None:
    assert title_of(rule, labels, trouble) == title


def test_advice_is_the_rules_own_else_that_of_the_class() -> None:
    group = Group(WELCOME)
    of_class = Group(WELCOME._replace(bounce_class="block_list"))
    policy = CATALOGUE["policy"]

    assert advice_of(RULES["silence"], group, spell(1), CATALOGUE) == RULES["silence"].advice
    assert advice_of(RULES["bounce_rate"], of_class, spell(1), CATALOGUE).endswith(CATALOGUE["block_list"].advice)
    assert advice_of(RULES["bounce_rate"], group, spell(1), CATALOGUE) == (
        f"Mostly policy: {policy.meaning} {policy.advice}"
    )
    assert "samples" in advice_of(RULES["bounce_rate"], group, Spell(0, 0, 1), CATALOGUE)
