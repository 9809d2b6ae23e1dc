"""Finds erased recipients in texts by their keyed digests alone, and puts a mark in their place. Pure.

Nothing here knows a recipient: what could be one is taken out of the text in the length of something on
the list, digested and looked up. A text of n characters costs at most about n/2 digests for every
different length on the list, and an ordinary one costs two or three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from schemas.personal import LEAST_PHONE_DIGITS, Digests, Erased, Personal, Shape, Value, lowered

MARK: Final = "[erased]"
#: A shorter identifier is only looked for where a field holds nothing else: 250 is a reply of SMTP, too.
LEAST_TOKEN_CHARS: Final = 6

_AT: Final = re.compile(r"@|%40|=")
_DOMAIN: Final = re.compile(r"[^\W_](?:[\w\-]|\.(?=\w))*")
_DIGITS: Final = re.compile(r"[0-9]+")
#: Between two groups of one number.
_GAP: Final = re.compile(r"[ ().\-/\N{NO-BREAK SPACE}]{1,3}")
_TOKEN: Final = re.compile(r"[^\s,;()<>\[\]{}\"'=&|]+")
_AROUND: Final = ".:!?*"
_INSIDE_LOCAL_PART: Final = "._+-"
#: Where an address is written for another one's mailbox (bounce-john=example.com@…) these part the two.
_BEFORE_CODED: Final = "+-"
_ESCAPED_BEFORE: Final = re.compile(r"%[0-9A-Fa-f]{2}\Z|\\u[0-9A-Fa-f]{4}\Z|\\[bfnrt]\Z")
_ESCAPE_CHARS: Final = 6

Span = tuple[int, int]


class Redactor:
    """Holds texts and values to a list. False when the list is empty: then nothing needs to be looked at."""

    def __init__(self, digests: Digests, erased: Iterable[Erased]) -> None:
        self._digests = digests
        self._by_shape: dict[Shape, dict[int, set[str]]] = {}
        self._all: set[str] = set()
        for one in erased:
            self._by_shape.setdefault(one.shape, {}).setdefault(one.chars, set()).add(one.digest)
            self._all.add(one.digest)

    def __bool__(self) -> bool:
        return bool(self._all)

    def is_erased(self, value: Value) -> bool:
        """Whether this very value is on the list."""
        known = self._by_shape.get(value.shape, {}).get(len(value.text))
        return known is not None and self._digests.of(value) in known

    def is_personal_erased(self, row: Personal) -> bool:
        """The same of a sealed value."""
        return row.digest in self._all

    def names_erased(self, name: str) -> bool:
        """Whether an identifier under which messages are looked up is on the list."""
        return bool(self) and self.is_erased(Value("identifier", name.strip()))

    def of_message(self, message_id: str) -> bool:
        """Whether it was a message of an erased recipient."""
        return self.is_erased(Value("message", message_id))

    def holds(self, text: str) -> bool:
        """Whether an erased recipient stands somewhere in a text."""
        return next(self._spans(text), None) is not None

    def text(self, text: str) -> str:
        """The text with `MARK` for every erased recipient, everything else as it was."""
        spans = sorted(self._spans(text))
        if not spans:
            return text
        parts, at = [], 0
        for start, end in spans:
            if start >= at:
                parts += [text[at:start], MARK]
            at = max(at, end)
        return "".join((*parts, text[at:]))

    def json(self, value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
        """The same for every text in a decoded JSON value; the very value where nothing is found."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            items = [self.json(item) for item in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if isinstance(value, dict):
            pairs = {self.text(name): self.json(item) for name, item in value.items()}
            same = all(new in value and pairs[new] is value[new] for new in pairs) and len(pairs) == len(value)
            return value if same else pairs
        return value

    def _spans(self, text: str) -> Iterator[Span]:
        if "address" in self._by_shape:
            yield from self._addresses(text)
        if "phone" in self._by_shape:
            yield from self._phones(text)
        if "identifier" in self._by_shape:
            yield from self._identifiers(text)

    def _addresses(self, text: str) -> Iterator[Span]:
        lengths = self._by_shape["address"]
        for mark in _AT.finditer(text):
            at, after = mark.span()
            for end in _domain_ends(text, after):
                for length in lengths:
                    start = at - (length - 1 - (end - after))
                    if 0 <= start < at and _may_begin(text, start, coded=mark[0] != "@"):
                        found = f"{text[start:at]}@{text[after:end]}"
                        if self.is_erased(Value("address", lowered(found))):
                            yield start, end

    def _phones(self, text: str) -> Iterator[Span]:
        lengths = self._by_shape["phone"]
        longest = max(lengths) + 2
        groups = list(_DIGITS.finditer(text))
        for first, group in enumerate(groups):
            digits = ""
            for number in range(first, len(groups)):
                start, end = groups[number].span()
                if digits and not _GAP.fullmatch(text, groups[number - 1].end(), start):
                    break
                digits += groups[number][0]
                if len(digits) > longest:
                    break
                found = digits.removeprefix("00")
                if len(found) >= LEAST_PHONE_DIGITS and self.is_erased(Value("phone", found)):
                    begin = group.start()
                    yield (begin - (begin > 0 and text[begin - 1] == "+"), end)

    def _identifiers(self, text: str) -> Iterator[Span]:
        for token in _TOKEN.finditer(text):
            bare = token[0].strip(_AROUND)
            start = token.start() + token[0].find(bare)
            if len(bare) >= LEAST_TOKEN_CHARS and self.is_erased(Value("identifier", bare)):
                yield start, start + len(bare)
        bare = text.strip()
        if len(bare) >= LEAST_TOKEN_CHARS and self.is_erased(Value("identifier", bare)):
            yield 0, len(text)  # one of more than one word


def _domain_ends(text: str, start: int) -> Iterator[int]:
    """Where a domain that begins at `start` may end: before each of its dots too, for a sentence may go on there."""
    run = _DOMAIN.match(text, start)
    if run is None:
        return
    end = run.end()
    while end > start:
        yield len(text[:end].rstrip("-_."))
        end = text.rfind(".", start, end)


def _may_begin(text: str, start: int, *, coded: bool) -> bool:
    """Whether an address may begin at `start`, and is not the end of a longer one: not `ann` of `joann`."""
    before = start - 1
    if coded and before >= 0 and text[before] in _BEFORE_CODED:
        return True
    while before >= 0 and text[before] in _INSIDE_LOCAL_PART:
        before -= 1
    if before < 0 or not text[before].isalnum():
        return True
    return bool(_ESCAPED_BEFORE.search(text, max(0, start - _ESCAPE_CHARS), start))
