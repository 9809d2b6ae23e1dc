"""Rule files: how a user's file extends ours, and the one line a broken one is refused with."""

from __future__ import annotations

from pathlib import Path

import pytest

from processors.bounce_rules import PATTERN_MAX_CHARS, RULE_FILE_MAX_BYTES, costly
from processors.classify import Classifier, RulesError

CLASS = '[[class]]\nname = "tenant"\nset = "bounce"\nmeaning = "Ours."\nadvice = "Call them."\n'
RULE = '[[rule]]\nid = "mine"\nclass = "policy"\n'


def _load(folder: Path, text: str) -> Classifier:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return Classifier.load(path)


def test_a_rule_of_the_user_is_tried_before_ours(tmp_path: Path) -> None:
    extended = _load(tmp_path, RULE + 'text = ["no such user"]\nexamples = ["550 no such user"]\n')

    assert extended.classify("bounced", "bounced", "550 5.1.1 No such user") == "policy"
    assert extended.classify("bounced", "bounced", "552 5.2.2 refused") == "mailbox_full"


def test_a_class_of_the_user_joins_the_catalogue(tmp_path: Path) -> None:
    extended = _load(tmp_path, CLASS + RULE.replace("policy", "tenant") + 'smtp = "550"\n')

    assert extended.classify("bounced", "bounced", "550 no") == "tenant"
    assert extended.catalogue["tenant"].advice == "Call them."
    assert "unknown_recipient" in extended.catalogue


def test_a_rule_for_an_abort_class_is_only_tried_on_aborts(tmp_path: Path) -> None:
    extended = _load(tmp_path, RULE.replace("policy", "abort_liquid") + 'text = ["no stock"]\n')

    assert extended.classify("aborted", "aborted", "No stock today") == "abort_liquid"
    assert extended.classify("bounced", "bounced", "No stock today") == "unclassified"


def test_a_rule_may_be_narrowed_to_a_status(tmp_path: Path) -> None:
    extended = _load(tmp_path, RULE + 'status = ["rejected"]\n')

    assert extended.classify("rejected", "rejected", None) == "policy"
    assert extended.classify("undelivered", "undelivered", None) == "unclassified"


def test_all_conditions_of_a_rule_must_hold(tmp_path: Path) -> None:
    extended = _load(tmp_path, RULE + 'smtp = "55."\nenhanced = "5[.]1[.]1"\ntext = ["odd", "strange"]\n')

    assert extended.classify("bounced", "bounced", "550 5.1.1 a strange thing") == "policy"
    for reason in ("450 5.1.1 odd", "550 5.1.2 odd", "550 5.1.1 thing", "odd"):
        assert extended.classify("bounced", "bounced", reason) != "policy"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert _load(tmp_path, "# nothing yet\n").classify("bounced", "bounced", "550 no such user") == "unknown_recipient"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = [", "expected TOML"),
        ("[rule]\nid = 'x'", "'rule' must be written as [[rule]]"),
        ("rule = [1]", "'rule' must be written as [[rule]]"),
        ("[settings]", "unknown table 'settings'"),
        (RULE + 'smpt = "550"', "rule 1: unknown key 'smpt', expected one of id, class, smtp"),
        (RULE + "smtp = 550", "'smtp' must be a text"),
        (RULE + 'text = "a"', "'text' must be a list of texts"),
        (RULE + "text = [1]", "rule 1 'mine': 'text' must be a list of texts"),
        (RULE + 'text = [""]', "'text' must be a list of texts"),
        (RULE + 'smtp = ""', "'smtp' is missing or empty"),
        (RULE, "rule 1 'mine': matches everything"),
        ('[[rule]]\nclass = "policy"\nsmtp = "550"', "rule 1: 'id' is missing"),
        ('[[rule]]\nid = "mine"\nsmtp = "550"', "'class' is missing"),
        (RULE.replace("policy", "polcy") + 'smtp = "5"', "class 'polcy' is not defined, expected one of abort_"),
        (RULE + 'text = ["("]', "expected a regular expression, '(' is none"),
        (RULE + 'text = ["User"]', "compared in lower case"),
        (RULE + 'text = ["a*"]', "could take very long"),
        (RULE + 'status = ["delivered"]', "'status' must be of aborted, bounced, deferred"),
        (RULE.replace("mine", "rate-words") + 'smtp = "5"', "rule 'rate-words' is defined twice"),
        ((RULE + 'smtp = "5"\n') * 2, "rule 'mine' is defined twice"),
        (CLASS * 2, "class 'tenant' is defined twice"),
        (CLASS.replace("tenant", "policy"), "class 'policy' is defined twice"),
        (CLASS.replace('"bounce"', '"other"'), "set is 'other', expected 'abort' or 'bounce'"),
        (CLASS.replace("tenant", "My Class"), "the name must be lower case"),
        (CLASS.replace("Call them.", ""), "'advice' is missing or empty"),
        (RULE + 'smtp = "550"\nexamples = ["551 no"]', "rule 'mine': rule 'smtp-not-local' decides an example"),
        (RULE + 'text = ["zzz"]\nexamples = ["yyy"]', "rule 'mine': rule 'None' decides an example"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_with_its_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RulesError) as caught:
        _load(tmp_path, text)

    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'mine.toml'}: ")
    assert words in line
    assert "\n" not in line


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"none\.toml: cannot be read: No such file"):
        Classifier.load(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff")

    with pytest.raises(RulesError, match="expected UTF-8 text, byte 1 is not"):
        Classifier.load(tmp_path / "mine.toml")


def test_a_file_may_be_as_large_as_allowed_and_not_larger(tmp_path: Path) -> None:
    assert _load(tmp_path, "#" * RULE_FILE_MAX_BYTES).catalogue
    with pytest.raises(RulesError, match="larger than"):
        _load(tmp_path, "#" * (RULE_FILE_MAX_BYTES + 1))


@pytest.mark.parametrize(
    "pattern",
    [
        "user unknown",
        "a.{0,40}b",
        "(a|b) ?c?",
        "[*+]{2}",
        r"\*\+\{1,\}",
        "a{3}",
        "[]*]",
        "[^]*]x",
        "(?:a|b)c",
        "(?<!x)y",
        "a{,5}",
    ],
)
def test_a_bounded_expression_is_allowed(pattern: str) -> None:
    assert costly(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a*", "without an end"),
        ("a+", "without an end"),
        ("a{2,}", "without an end"),
        ("a{,}", "without an end"),
        ("[a*]+", "without an end"),
        ("(a){0,3}", "repeated group"),
        ("(?:a|a){2}", "repeated group"),
        ("a{0,201}", "repeat beyond"),
        ("a{201}", "repeat beyond"),
        (r"(a)\1", "back reference"),
        ("(?P<x>a)(?P=x)", "back reference"),
        ("a{0,99}b{0,99}c{0,9}", "ways at one place"),
        ("(a|a|a|a)" * 10, "ways at one place"),
        ("a?" * 20, "ways at one place"),
        ("a" * (PATTERN_MAX_CHARS + 1), "longer than"),
    ],
)
def test_an_expression_that_could_run_away_is_refused(pattern: str, words: str) -> None:
    assert words in (costly(pattern) or "")
