"""Read and check the rules that turn a reply into a bounce class: ours and a file of the user's.

A rule file is TOML: `[[class]]` tables with a name, a set, a meaning and advice, and `[[rule]]` tables,
in order. Refuses, in one line that names file and rule, everything that would otherwise show as a wrong
class at night, and every expression whose cost a hostile text could blow up.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from processors.smtp_reply import Reply
from schemas.statuses import FAILURE_WORDS

BUILT_IN: Final = Path(__file__).with_name("bounce_rules.toml")
RULE_FILE_MAX_BYTES: Final = 1024 * 1024
PATTERN_MAX_CHARS: Final = 500
REPEAT_MAX: Final = 200
#: Ways to try an expression at one place of a text; more of them, and a hostile text could find the worst.
PATTERN_WAYS_MAX: Final = 10_000

ABORT: Final = "abort"
BOUNCE: Final = "bounce"
_SETS: Final = frozenset({ABORT, BOUNCE})
_CLASS_KEYS: Final = {"name": str, "set": str, "meaning": str, "advice": str}
_RULE_KEYS: Final = {
    "id": str,
    "class": str,
    "smtp": str,
    "enhanced": str,
    "text": list,
    "status": list,
    "examples": list,
}
_STATUS_WORDS: Final = FAILURE_WORDS | {"deferred"}


class RulesError(ValueError):
    """One line: the file, the rule or class, and what was expected there."""


class BounceClass(NamedTuple):
    """One row of the catalogue. `advice` is a sentence on what to do, printed by alerts."""

    name: str
    set: str
    meaning: str
    advice: str


class Rule(NamedTuple):
    """All conditions given must hold. `smtp` and `enhanced` match a whole code, one of `text` somewhere."""

    id: str
    bounce_class: str
    smtp: re.Pattern[str] | None
    enhanced: re.Pattern[str] | None
    text: tuple[re.Pattern[str], ...]
    status: frozenset[str]
    examples: tuple[str, ...]

    def matches(self, reply: Reply, status: str) -> bool:
        """Whether this rule decides the reply of a message that became `status`."""
        if self.smtp and not (reply.code and self.smtp.fullmatch(reply.code)):
            return False
        if self.enhanced and not (reply.enhanced and self.enhanced.fullmatch(reply.enhanced)):
            return False
        if self.status and status not in self.status:
            return False
        return not self.text or any(pattern.search(reply.words) for pattern in self.text)


class RuleFile(NamedTuple):
    """What a file holds, in its order."""

    classes: Mapping[str, BounceClass]
    rules: Sequence[Rule]


def read_rules(path: Path, *, known: RuleFile | None = None) -> RuleFile:
    """The classes and rules of a file. `known` is what it extends: its classes may be used, none redefined.

    Raises `RulesError`.
    """
    content = _content(path)
    for key in content.keys() - {"class", "rule"}:
        raise RulesError(f"{path}: unknown table '{key}', expected [[class]] or [[rule]]")
    classes: dict[str, BounceClass] = {}
    for number, table in enumerate(_tables(path, content, "class"), 1):
        found = _class(f"{path}: class {number}", table)
        if found.name in classes or (known and found.name in known.classes):
            raise RulesError(f"{path}: class '{found.name}' is defined twice, expected a name of its own")
        classes[found.name] = found
    names = {**(known.classes if known else {}), **classes}
    rules: dict[str, Rule] = {rule.id: rule for rule in known.rules} if known else {}
    own: list[Rule] = []
    for number, table in enumerate(_tables(path, content, "rule"), 1):
        rule = _rule(f"{path}: rule {number}", table, names)
        if rule.id in rules:
            raise RulesError(f"{path}: rule '{rule.id}' is defined twice, expected an id of its own")
        rules[rule.id] = rule
        own.append(rule)
    return RuleFile(classes, own)


def _content(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(RULE_FILE_MAX_BYTES + 1)
        if len(raw) > RULE_FILE_MAX_BYTES:
            raise RulesError(f"{path}: larger than {RULE_FILE_MAX_BYTES} bytes")
        return tomllib.loads(raw.decode())
    except OSError as error:
        raise RulesError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RulesError(f"{path}: expected UTF-8 text, byte {error.start + 1} is not") from error
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{path}: expected TOML: {error}") from error


def _tables(path: Path, content: Mapping[str, object], name: str) -> list[dict[str, object]]:
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise RulesError(f"{path}: '{name}' must be written as [[{name}]]")
    return found


def _class(where: str, table: Mapping[str, object]) -> BounceClass:
    name, set_, meaning, advice = (_string(where, table, key) for key in _checked(where, table, _CLASS_KEYS))
    if set_ not in _SETS:
        raise RulesError(f"{where} '{name}': set is '{set_}', expected '{ABORT}' or '{BOUNCE}'")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise RulesError(f"{where}: the name must be lower case letters, digits and _, at most 40")
    return BounceClass(name, set_, meaning, advice)


def _checked(where: str, table: Mapping[str, object], keys: Mapping[str, type[object]]) -> Mapping[str, type[object]]:
    """`keys`, once every key of the table is one of them and of its type."""
    for key, value in table.items():
        if key not in keys:
            raise RulesError(f"{where}: unknown key '{key}', expected one of {', '.join(keys)}")
        if not isinstance(value, keys[key]):
            raise RulesError(f"{where}: '{key}' must be {'a list of texts' if keys[key] is list else 'a text'}")
    return keys


def _string(where: str, table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RulesError(f"{where}: '{key}' is missing or empty, expected a text")
    return value


def _strings(where: str, table: Mapping[str, object], key: str) -> tuple[str, ...]:
    found = table.get(key, ())
    if isinstance(found, (list, tuple)) and all(isinstance(text, str) and text for text in found):
        return tuple(found)
    raise RulesError(f"{where}: '{key}' must be a list of texts")


def _rule(where: str, table: Mapping[str, object], classes: Mapping[str, BounceClass]) -> Rule:
    _checked(where, table, _RULE_KEYS)
    where = f"{where} '{_string(where, table, 'id')}'"
    bounce_class = _string(where, table, "class")
    if bounce_class not in classes:
        names = ", ".join(sorted(classes))
        raise RulesError(f"{where}: class '{bounce_class}' is not defined, expected one of {names}")
    status = frozenset(_strings(where, table, "status"))
    if status - _STATUS_WORDS:
        raise RulesError(f"{where}: 'status' must be of {', '.join(sorted(_STATUS_WORDS))}")
    smtp, enhanced = (_code_pattern(where, table, key) for key in ("smtp", "enhanced"))
    texts = tuple(_text_pattern(where, text) for text in _strings(where, table, "text"))
    if not (smtp or enhanced or texts or status):
        raise RulesError(f"{where}: matches everything, expected at least one of smtp, enhanced, text, status")
    examples = _strings(where, table, "examples")
    return Rule(_string(where, table, "id"), bounce_class, smtp, enhanced, texts, status, examples)


def _code_pattern(where: str, table: Mapping[str, object], key: str) -> re.Pattern[str] | None:
    return _pattern(where, _string(where, table, key)) if key in table else None


def _text_pattern(where: str, text: str) -> re.Pattern[str]:
    if re.search(r"(?<!\\)[A-Z]", text):
        raise RulesError(f"{where}: texts are compared in lower case, and '{text}' has a capital letter")
    return _pattern(where, text)


def _pattern(where: str, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise RulesError(f"{where}: expected a regular expression, '{text}' is none: {error}") from error
    fault = costly(text)
    if fault:
        raise RulesError(f"{where}: '{text}' could take very long: {fault}")
    return pattern


#: What an expression is made of, as far as its cost goes. Sets are one item, escapes too.
_PIECE: Final = re.compile(
    r"\\(?P<escape>.)|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<reference>\(\?P=)|(?P<open>\((?:\?(?:[:=!]|<[=!]))?)|(?P<close>\))|"
    r"(?P<bar>\|)|(?P<unlimited>[*+]|\{\d*,\})|\{(?P<low>\d*)(?:,(?P<high>\d+))?\}|(?P<maybe>\?)|.",
    re.DOTALL,
)


def costly(pattern: str) -> str | None:
    """Why an expression may be slow on a hostile text, or `None`.

    Every repeat must have an end, only `?` may follow a group, and all choices together (alternatives
    in groups, ranges of repeats) must not give more than `PATTERN_WAYS_MAX` ways to try at one place.
    """
    if len(pattern) > PATTERN_MAX_CHARS:
        return f"it is longer than {PATTERN_MAX_CHARS} characters"
    ways, alternatives, after_group = 1, [1], False
    for piece in _PIECE.finditer(pattern):
        if piece["unlimited"]:
            return "a repeat without an end, expected {0,20} or the like instead of * and +"
        if piece["reference"] or (piece["escape"] or "").isdigit():
            return "a back reference"
        if piece["low"] is not None:
            low = int(piece["low"] or 0)
            high = int(piece["high"] or low)
            if after_group or high > REPEAT_MAX:
                return f"a repeated group or a repeat beyond {REPEAT_MAX}, expected single characters and less"
            ways *= max(high - low, 0) + 1
        ways *= _choices(piece, alternatives)
        after_group = piece["close"] is not None
    if ways > PATTERN_WAYS_MAX:
        return f"it can be tried in {ways} ways at one place, expected at most {PATTERN_WAYS_MAX}"
    return None


def _choices(piece: re.Match[str], alternatives: list[int]) -> int:
    """How many ways this piece multiplies; `alternatives` counts those of the groups still open."""
    if piece["open"]:
        alternatives.append(1)
    elif piece["bar"]:
        alternatives[-1] += 1
    elif piece["close"] and len(alternatives) > 1:
        return alternatives.pop()
    return 2 if piece["maybe"] else 1
