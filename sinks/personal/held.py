"""The list of what was erased as a writer or a reader of tables has it: read again only when it has grown.

Refuses to go on beside a list it has no key for: rows that it cannot hold to the list must not be written,
nor bodies shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from schemas.personal import Digests, Erased
from sinks.personal.bodies import holds_body
from sinks.personal.redactor import Redactor
from sinks.tables.trouble import TablesError

#: Whether a body may not be shown.
Withheld: TypeAlias = Callable[[bytes], bool]


class ErasureKeyError(TablesError):
    """There is a list of erased recipients, and not the key it was made with; the text says what to do."""


class HeldList:
    """The list in one set of tables. Any number of threads may ask."""

    def __init__(self, digests: Digests | None) -> None:
        self._digests = digests
        self._known: tuple[int, Redactor | None] = (0, None)

    def redactor(self, last: int, read: Callable[[], Iterable[Erased]]) -> Redactor | None:
        """What rows must be held to; `None` when nothing was ever erased, as it mostly is.

        `last` is the number of the newest entry, 0 without any; `read` gives them all. Raises `ErasureKeyError`.
        """
        known, redactor = self._known
        if last != known:
            entries = list(read())
            check_key(self._digests, entries)
            redactor = Redactor(self._digests, entries) if self._digests is not None and entries else None
            self._known = (last, redactor)
        return redactor

    def withheld(self, last: int, read: Callable[[], Iterable[Erased]], message_id: str) -> Withheld | None:
        """Which bodies of a message may not be shown; `None` for all may. Without the key none may."""
        try:
            redactor = self.redactor(last, read)
        except ErasureKeyError:
            return lambda _body: True
        if redactor is None:
            return None
        theirs = redactor.of_message(message_id)
        return lambda body: theirs or holds_body(redactor, body)


def check_key(digests: Digests | None, entries: Iterable[Erased]) -> None:
    """Raises `ErasureKeyError` where entries were made with another key, or there is none."""
    made_with = {entry.key_id for entry in entries}
    if made_with and (digests is None or made_with != {digests.key_id}):
        raise ErasureKeyError(
            "recipients were erased here under another personal.key than this process has, so nothing can be held to"
            " their list; give it the key that was in use then"
        )
