"""What erasing somebody from a set of tables is asked and answers, whatever database they are in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.personal import Digests, Erased, Value
from sinks.personal.redactor import Redactor

#: Makes entries of the list durable outside of the tables, before anything is deleted from them.
KeepList = Callable[[Sequence[Erased]], None]


@dataclass(frozen=True, slots=True)
class Erasure:
    """One recipient: everything that may be it, digested. `apply` false only counts."""

    values: tuple[Value, ...]
    digests: Digests
    erased_at: str
    apply: bool
    keep: KeepList = lambda _entries: None

    def entries(self, message_ids: Sequence[str] = ()) -> list[Erased]:
        """What goes on the list: the values, and the messages that are found to be the recipient's."""
        theirs = [Value("message", message_id) for message_id in message_ids]
        return [self.digests.erased(value, self.erased_at) for value in (*self.values, *theirs)]

    def redactor(self) -> Redactor:
        """Finds this recipient alone: what was erased before is gone already."""
        return Redactor(self.digests, self.entries())

    def identifiers(self) -> list[str]:
        """The names under which messages of theirs are looked up."""
        return [value.text for value in self.values if value.shape == "identifier"]

    def personal_digests(self) -> list[str]:
        """Under which their personal values lie."""
        return [self.digests.of(value) for value in self.values]


@dataclass(slots=True)
class Touched:
    """How many rows of each table; `messages_of` counts the messages that were the recipient's."""

    rows: dict[str, int] = field(default_factory=dict)
    messages_of: int = 0

    def add(self, table: str, count: int) -> None:
        """Nothing for a table without any."""
        if count:
            self.rows[table] = self.rows.get(table, 0) + count
