"""HTML for people, made on the server: the page's clothes, and texts that came from outside made harmless.

No script, nothing loaded from elsewhere. Every text from outside is escaped, isolated from the direction of
its surroundings, and cut where it is long.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Final
from urllib.parse import quote

_TEXT_CHARS: Final = 240
_BLANK: Final = re.compile(r"\s+")
#: Control characters, and those that turn the direction of what follows.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"
_SECOND_CHARS: Final = len("2020-08-31T18:58:42")

STYLE: Final = files("sendtrace").joinpath("web_page.css").read_text("utf-8")
_STYLE_DIGEST: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
#: Nothing may run or be loaded; the one style sheet inside the page is named by its digest.
HTML_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}


def document(title: str, content: str) -> str:
    """Another page in the same clothes."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sendtrace: {title}</title><style>{STYLE}</style></head>"
        f'<body><main><h1><a href="/">sendtrace</a>: {title}</h1>{content}</main></body></html>'
    )


def text(value: str, *, most_chars: int = _TEXT_CHARS) -> str:
    """A text from outside as HTML: on one line, cut, escaped, isolated; what cannot be seen as U+FFFD."""
    plain = _CONTROL.sub(_UNPRINTABLE, _BLANK.sub(" ", value))
    return f"<bdi>{escape(plain if len(plain) <= most_chars else plain[:most_chars] + '…')}</bdi>"


def part_of_path(name: str) -> str:
    """An id as one part of a path in an attribute."""
    return quote(name, safe="", errors="replace")


def second(iso: str) -> str:
    """A time to the second, for a table's cell."""
    return iso[:_SECOND_CHARS].replace("T", " ")


def table(names: Iterable[str], rows: Iterable[str], *, slim: bool = False) -> str:
    """A table in a frame that scrolls by itself. The cells are HTML, `<td>` and all. `slim`: no wider than it must."""
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    heading = f"<thead><tr>{head}</tr></thead>" if head else ""
    width = ' class="slim"' if slim else ""
    return f'<div class="wide"><table{width}>{heading}<tbody>{body}</tbody></table></div>'
