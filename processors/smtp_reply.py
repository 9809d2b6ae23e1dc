"""Take the text of a refusal apart: SMTP code (RFC 5321 §4.2), enhanced code (RFC 3463), and the words.

The text may be one line or many, with the code at the start, after somebody's introduction, twice or
nowhere. Refuses numbers that only look like codes: addresses, versions, sizes. Every expression here
has bounded repeats, so a hostile text costs no more than a long one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: More than any reply says; a longer one is judged by its start.
EXAMINED_MAX_CHARS: Final = 4096

_ENHANCED: Final = r"[45]\.[0-7]\.\d{1,3}(?!\.?\d)"  # RFC 3463 §2: class, subject 0 to 7, detail
#: Only refusals: first digit 4 or 5, second 0 to 5 (RFC 5321 §4.2.1).
_CODE: Final = r"[45][0-5]\d"
_BOTH: Final = re.compile(rf"(?<![\w.\-/=])({_CODE})[ \-]{{1,3}}[#(\[]?({_ENHANCED})")
#: A code alone counts at the start, after punctuation that introduces it, or after a word that does.
_CODE_ALONE: Final = re.compile(
    rf"(?:^|[:;(\[\"'] ?|\b(?:said|says|code|error|status|reply|response|smtp|returned) )"
    rf"({_CODE})(?=[ \-:;,)\]]|$)"
)
_ENHANCED_ALONE: Final = re.compile(rf"(?<![\w.\-/])({_ENHANCED})")
#: Inside a text from JSON or a form, line ends are sometimes the two characters of an escape.
_WRITTEN_LINE_END: Final = re.compile(r"\\[rn]")
_ADDRESS: Final = re.compile(r"<?[^\s<>@,;:\"']{1,64}+@[^\s<>@,;:\"'()]{1,255}>?")
#: Queue and message ids: long words with a digit in them. They differ in every reply and mean nothing.
_LONG_WORD: Final = re.compile(r"[\w\-]{16,}")


class Reply(NamedTuple):
    """`words` is lower case with single blanks, repeated codes of a multi-line reply taken out, every
    address replaced by `<address>` and every long id by `<id>`."""

    code: str | None
    enhanced: str | None
    words: str


def parse_reply(reason: str) -> Reply:
    """The parts of a reply. Only the first `EXAMINED_MAX_CHARS` are read."""
    raw = _WRITTEN_LINE_END.sub(" ", reason[:EXAMINED_MAX_CHARS]).replace("\0", " ").lower()
    flat = " ".join(raw.split())
    code, enhanced = _codes(flat)
    return Reply(code, enhanced, _words(flat, code, enhanced))


def _codes(flat: str) -> tuple[str | None, str | None]:
    """Two codes side by side are surest; otherwise each is looked for alone."""
    both = _BOTH.search(flat)
    if both:
        return both[1], both[2]
    code, enhanced = _CODE_ALONE.search(flat), _ENHANCED_ALONE.search(flat)
    return code and code[1], enhanced and enhanced[1]


def _words(flat: str, code: str | None, enhanced: str | None) -> str:
    """Without the codes that begin each line of a reply, so that a sentence broken over lines is whole again."""
    if code:
        if enhanced:
            for between in ("-", " ", "-#", " #", " - "):
                flat = flat.replace(f"{code}{between}{enhanced} ", " ")
        flat = flat.replace(f"{code}-", " ").removeprefix(f"{code} ")
    if enhanced:
        flat = flat.lstrip("# ").removeprefix(f"{enhanced} ")
    if "@" in flat:
        flat = _ADDRESS.sub("<address>", flat)
    return " ".join(_LONG_WORD.sub(_without_id, flat).split())


def _without_id(match: re.Match[str]) -> str:
    word = match[0]
    return "<id>" if any(letter.isdigit() for letter in word) else word
