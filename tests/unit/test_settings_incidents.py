"""`[incidents]`: which rules hold, and that a rule which could not work is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.incidents.rules import DEFAULT_RULES, IncidentRule, conflicts, unknown_words
from sendtrace.settings import SettingsError, load
from sendtrace.settings_incidents import IncidentRuleSettings, IncidentsSettings, incident_rules_of
from tests.unit.incident_rig import CATALOGUE

SOURCE = f'[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{"ab" * 32}"]\n'
EXAMPLE = Path(__file__).parents[2] / "deploy" / "sendtrace.example.toml"
COUNT = 'name = "a"\nkind = "count"\nmatch = ["aborted"]\n'
RATE = 'name = "b"\nkind = "rate"\nmatch = ["bounced"]\nof = "delivered"\nrate_above = 0.1\n'


def incidents(tmp_path: Path, *rules: str, table: str = "") -> IncidentsSettings:
    path = tmp_path / "sendtrace.toml"
    path.write_text(f"{SOURCE}[incidents]\n{table}\n" + "".join(f"[[incidents.rules]]\n{rule}" for rule in rules))
    return load(path).incidents


def fault(tmp_path: Path, *rules: str, table: str = "") -> str:
    with pytest.raises(SettingsError) as caught:
        incidents(tmp_path, *rules, table=table)
    (line,) = caught.value.faults
    return line.removeprefix(f"{tmp_path}/sendtrace.toml: ")


def test_without_a_table_the_built_in_rules_hold() -> None:
    assert incident_rules_of(load(None, takes_postbacks=False)) == DEFAULT_RULES


def test_the_built_in_rules_have_classes_that_exist_and_do_not_overlap() -> None:
    assert list(unknown_words(DEFAULT_RULES, {*CATALOGUE, "complained", "bounced", "unknown", "dead_letters"})) == []
    assert list(conflicts(DEFAULT_RULES)) == []


def test_a_rule_is_added_with_its_units(tmp_path: Path) -> None:
    rule = COUNT + 'at_least = 20\nwindow_minutes = 15\nquiet_minutes = 5\ngroup_by = ["class"]\nseverity = "error"\n'

    assert incidents(tmp_path, rule).in_force()[-1] == IncidentRule(
        "a", "count", ("aborted",), group_by=("class",), at_least=20, window_s=900, quiet_s=300, severity="error"
    )


def test_a_rule_of_a_built_in_name_replaces_it(tmp_path: Path) -> None:
    rules = incidents(tmp_path, RATE.replace('"b"', '"bounce_rate"')).in_force()

    (found,) = (rule for rule in rules if rule.name == "bounce_rate")
    assert (found.of, found.above_ppm, len(rules)) == ("delivered", 100_000, len(DEFAULT_RULES))


def test_rules_are_switched_off_by_name_or_in_place(tmp_path: Path) -> None:
    found = incidents(tmp_path, COUNT + "enabled = false\n", RATE, table='disable = ["silence"]')

    assert {rule.name for rule in found.in_force()} == {*(rule.name for rule in DEFAULT_RULES), "b"} - {"silence"}


def test_quiet_of_all_is_that_of_those_that_say_none(tmp_path: Path) -> None:
    found = incidents(tmp_path, COUNT, RATE + "quiet_minutes = 3\n", table="quiet_minutes = 10")

    assert {rule.name: rule.quiet_s for rule in found.in_force()}["b"] == 180
    assert {rule.quiet_s for rule in found.in_force()} == {600, 180}


def test_rules_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_INCIDENTS__RULES", '[{"name": "a", "kind": "count", "match": ["failures"]}]')
    monkeypatch.setenv("SENDTRACE_INCIDENTS__DISABLE", "silence,dead_letters")

    names = [rule.name for rule in load(None, takes_postbacks=False).incidents.in_force()]
    assert names[-1] == "a"
    assert not {"silence", "dead_letters"} & set(names)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([RATE.replace("0.1", "1.5")], "incidents.rules[0].rate_above: got 1.5, expected a share above 0 and below 1"),
        ([RATE.replace("0.1", "2")], "incidents.rules[0].rate_above: got 2, expected a share above 0 and below 1"),
        ([COUNT, COUNT], "incidents.rules has two rules of the name a, expected one; rename or remove one of them"),
        ([COUNT, COUNT.replace('"a"', '"c"')], "incidents.rules has c, which overlaps with a: they match the same"),
        (
            [COUNT.replace("aborted", "abort_template_error") + 'group_by = ["class", "campaign_id"]\n'],
            "incidents.rules has a, which overlaps with abort_template: they match the same with the same grouping;",
        ),
        ([COUNT + "window_minutes = 1441\n"], "incidents.rules[0].window_minutes: got 1441, expected a whole number"),
        ([COUNT + "windo_minutes = 5\n"], "incidents.rules[0].windo_minutes: there is no such setting; did you mean"),
        ([COUNT.replace("count", "counts")], 'incidents.rules[0].kind: got "counts", expected count, rate or silence'),
        ([COUNT.replace('"a"', '"A b"')], 'incidents.rules[0].name: got "A b", expected a name of a-z'),
        ([COUNT + "rate_above = 0.5\n"], "incidents.rules[0]: rule a has rate_above, which a rule of kind count does"),
        (['name = "a"\nkind = "count"\n'], "incidents.rules[0]: rule a has no match, which a rule of kind count needs"),
        ([RATE.replace("delivered", "all")], "incidents.rules[0]: rule b is of 'all', expected one of finals,"),
        ([RATE + 'group_by = ["domain"]\n'], "incidents.rules[0]: rule b is grouped by domain, which only failures"),
        (
            [COUNT.replace("aborted", "complained") + 'group_by = ["class"]\n'],
            "incidents.rules[0]: rule a is grouped by class, which only failures have; take that out",
        ),
        ([COUNT + 'group_by = ["channel"]\n'], 'incidents.rules[0].group_by[0]: got "channel", expected a list of'),
        ([COUNT + 'severity = "bad"\n'], 'incidents.rules[0].severity: got "bad", expected info, warning, error or'),
    ],
)
def test_a_rule_that_could_not_work_is_one_line(tmp_path: Path, rules: list[str], told: str) -> None:
    assert fault(tmp_path, *rules).startswith(told)


def test_a_name_that_is_switched_off_and_does_not_exist_is_found(tmp_path: Path) -> None:
    found = fault(tmp_path, table='disable = ["silense"]')

    assert found.startswith("incidents.disable names 'silense', and there is no such rule; did you mean silence?")


def test_a_class_is_looked_up_with_those_of_the_user(tmp_path: Path) -> None:
    found = incidents(tmp_path, COUNT.replace("aborted", "blok_list"), RATE.replace("bounced", "our_own"))

    assert found.faults_of_classes([*CATALOGUE, "our_own"]) == [
        "incidents.rules: rule a: there is no class or status 'blok_list'; did you mean block_list?"
    ]


def test_the_example_speaks_of_every_key_of_a_rule() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")

    assert [key for key in IncidentRuleSettings.model_fields if key not in text] == []


def test_the_example_describes_every_built_in_rule() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")

    assert [rule.name for rule in DEFAULT_RULES if f"#   {rule.name} " not in text] == []
