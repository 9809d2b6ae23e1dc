"""Query parameters of the read API: what an endpoint takes, and what is wrong with what it got.

Refuses rather than guesses: an unknown name, a name given twice, an empty value. A filter that is
ignored because of a typing error shows everything, and looks like an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import parse_qsl

from sendtrace.web_answers import ApiError, shown
from sinks.tables.pages import DEFAULT_ITEMS, MOST_ITEMS

_MOST_FIELDS: Final = 50
_COMPARED_CHARS: Final = 60
_LEAST_LIKENESS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter. `words` is the closed set of its values; empty where any text will do."""

    name: str
    about: str
    words: tuple[str, ...] = ()


LIMIT: Final = Parameter(
    name="limit", about=f"at most this many items, 1 to {MOST_ITEMS}; {DEFAULT_ITEMS} if not given"
)
CURSOR: Final = Parameter(name="cursor", about="next_cursor of the answer before, as it is")


def read_query(raw: bytes, parameters: Sequence[Parameter]) -> dict[str, str]:
    """What was asked for, by name. Bytes that are no UTF-8 become U+FFFD, which matches nothing. Raises `ApiError`."""
    try:
        pairs = parse_qsl(
            raw.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise ApiError(400, "bad_parameter", f"more than {_MOST_FIELDS} parameters") from None
    known = {parameter.name: parameter for parameter in parameters}
    asked: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise _unknown(name, known)
        if name in asked:
            raise ApiError(400, "bad_parameter", f"{name} is given twice")
        _check(known[name], value)
        asked[name] = value
    return asked


def limit_of(asked: dict[str, str], *, default: int = DEFAULT_ITEMS) -> int:
    """The limit asked for. Raises `ApiError` when it is no number or out of range."""
    text = asked.get("limit", str(default))
    # At most four ASCII digits: `int` would read other digits, blanks, signs and underscores too.
    if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_ITEMS)) and 1 <= int(text) <= MOST_ITEMS:
        return int(text)
    raise ApiError(400, "bad_parameter", f"limit is {shown(text)}, expected a whole number from 1 to {MOST_ITEMS}")


def _check(parameter: Parameter, value: str) -> None:
    if not value:
        raise ApiError(400, "bad_parameter", f"{parameter.name} is empty; leave it out to ask for everything")
    if parameter.words and value not in parameter.words:
        raise ApiError(
            400,
            "bad_parameter",
            f"{parameter.name} is {shown(value)}{_nearest(value, parameter.words)};"
            f" expected one of {', '.join(parameter.words)}",
        )


def _unknown(name: str, known: Iterable[str]) -> ApiError:
    names = tuple(known)
    takes = f"this address takes {', '.join(names)}" if names else "this address takes no parameters"
    return ApiError(400, "unknown_parameter", f"there is no parameter {shown(name)}{_nearest(name, names)}; {takes}")


def _nearest(text: str, words: Sequence[str]) -> str:
    near = get_close_matches(text[:_COMPARED_CHARS].lower(), words, n=1, cutoff=_LEAST_LIKENESS)
    return f" (did you mean {near[0]}?)" if near else ""
