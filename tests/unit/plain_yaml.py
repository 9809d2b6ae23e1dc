"""Reads the little YAML that the files under deploy/ are written in, and refuses everything else.

For the tests alone, which so need no package for it. What it takes, every YAML reader takes for the same: what they
read differently (`yes`, `010`, `1:30`) has to stand in quotes here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

Node = Any  # a mapping, a list, a text, a number, true or false, as the file has it

_NUMBER: Final = re.compile(r"(?:0|-?[1-9][0-9]*)(?:\.[0-9]+)?")
_ITEM: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^,"\s][^,"]*')
_TEXT: Final = re.compile(r"[A-Za-z0-9./$_<-][^\"'`\\|\[\]#&*]*")
_DIFFERS: Final = re.compile(
    r"(?i)yes|no|on|off|y|n|null|~|[-+]?[0-9_]*\.?[0-9_]*|[0-9]+(:[0-9]+)+|[0-9-]+|0[xob].*|.*: .*|.*:|- .*"
)
_KEY: Final = re.compile(r"([A-Za-z_<][\w./<-]*):(?: (.*))?")


class YamlError(Exception):
    """A line that is no YAML, or not of the kind that is read here."""


def documents(path: Path) -> list[Node]:
    """Every document of a file. Raises `YamlError`."""
    parts = re.split(r"^---\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_Reader(part, path.name).document() for part in parts]


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._lines = text.splitlines()
        self._name = name
        self._at = 0
        self._anchors: dict[str, Node] = {}

    def document(self) -> Node:
        found = self._block(0)
        if self._peek() is not None:
            raise self._wrong("is indented as nothing before it")
        return found

    def _wrong(self, why: str) -> YamlError:
        return YamlError(f"{self._name}: {self._lines[min(self._at, len(self._lines) - 1)]!r} {why}")

    def _peek(self) -> tuple[int, str] | None:
        """The next line that says something: how far it is indented, and what it says."""
        while self._at < len(self._lines) and not self._lines[self._at].split("#")[0].strip():
            self._at += 1
        if self._at == len(self._lines):
            return None
        line = self._lines[self._at]
        if "\t" in line:
            raise self._wrong("has a tab")
        return len(line) - len(line.lstrip()), line.strip()

    def _block(self, indent: int) -> Node:
        line = self._peek()
        if line is None or line[0] != indent:
            raise self._wrong(f"is not indented by {indent}")
        return self._sequence(indent) if line[1].startswith("- ") else self._mapping(indent)

    def _sequence(self, indent: int) -> list[Node]:
        items = []
        while (line := self._peek()) and line[0] == indent and line[1].startswith("- "):
            rest = line[1][2:]
            if rest != "|" and _KEY.fullmatch(rest):
                self._lines[self._at] = " " * (indent + 2) + rest
                items.append(self._mapping(indent + 2))
            else:
                self._at += 1
                items.append(self._value(rest, indent))
        return items

    def _mapping(self, indent: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while (line := self._peek()) and line[0] == indent:
            pair = _KEY.fullmatch(line[1])
            if pair is None or pair[1] in found:
                raise self._wrong("is no key with a value, or a key for the second time")
            self._at += 1
            value = self._value(pair[2] or "", indent)
            if pair[1] == "<<":
                merged = value
            else:
                found[pair[1]] = value
        return {**merged, **found}

    def _value(self, text: str, indent: int) -> Node:
        if text == "|":
            return self._literal(indent)
        if text.startswith("&"):
            name, _, text = text[1:].partition(" ")
            value = self._anchors[name] = self._value(text, indent)
            return value
        if text:
            return self._flow(text)
        below = self._peek()
        return self._block(below[0]) if below and below[0] > indent else None

    def _literal(self, indent: int) -> str:
        start = self._at
        while self._at < len(self._lines) and (
            not (line := self._lines[self._at]).strip() or len(line) - len(line.lstrip()) > indent
        ):
            self._at += 1
        lines = self._lines[start : self._at]
        margin = len(lines[0]) - len(lines[0].lstrip())
        return "".join(f"{line[margin:]}\n" for line in lines).rstrip("\n") + "\n"

    def _flow(self, text: str) -> Node:
        if text.startswith("*") and text[1:] in self._anchors:
            return self._anchors[text[1:]]
        if text.startswith("[") and text.endswith("]"):
            return [self._flow(item.strip()) for item in _ITEM.findall(text[1:-1])]
        if text.startswith('"') or text in {"{}", "true", "false"} or _NUMBER.fullmatch(text):
            return json.loads(text)
        if not _TEXT.fullmatch(text) or _DIFFERS.fullmatch(text):
            raise YamlError(f"{self._name}: {text!r} is not read here, or not by everybody in the same way: quote it")
        return text
