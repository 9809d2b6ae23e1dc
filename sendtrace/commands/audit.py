"""`sendtrace audit`: does everything that was accepted add up?"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from schemas.codec import encode
from schemas.records import Audit, AuditRow
from sendtrace.audit import audit as account
from sendtrace.commands.common import OK, TROUBLE, AsJson, Config, Data
from sendtrace.commands.places import Place, place_of
from sendtrace.terminal import Cell, Grid, say, show_grid
from sendtrace.timeline import moment

_COUNTS: Final = ("accepted", "applied", "duplicates", "dead", "pending")
_HOUR_CHARS: Final = len("2020-08-31 18:00")


def audit(*, json: AsJson = False, config: Config = None, data: Data = None) -> int:
    """Show for each source and hour what became of every accepted body, and whether it adds up.

    accepted = applied + duplicates + dead + pending. Exit code 1 when it does not, or Kafka cannot be asked.

    Example: sendtrace audit --data ./sendtrace-data
    """
    found = audit_of(place_of(config, data))
    if json:
        say(encode(found).decode())
    else:
        show_grid(grid_of(found))
        say(verdict(found), "green" if found["balanced"] else "bold red")
    return OK if found["balanced"] else TROUBLE


def audit_of(place: Place) -> Audit:
    """The account as it is now, also beside a running sendtrace."""
    with closing(place.open_reader()) as reader, closing(place.open_log()) as log:
        return account(reader, log)


def grid_of(found: Audit) -> Grid:
    """A row for each source and hour; what is missing has a column of its own only when something is."""
    names = (*_COUNTS, "missing") if any(map(_missing, found["rows"])) else _COUNTS
    rows = [
        (
            Cell(row["source"]),
            Cell(moment(row["hour"])[:_HOUR_CHARS]),
            *(Cell(f"{count:,}") for count in _counts(row)),
            *([Cell(f"{_missing(row):,}", "bold red" if _missing(row) else "")] if len(names) > len(_COUNTS) else []),
        )
        for row in found["rows"]
    ]
    return Grid(("source", "hour (UTC)", *names), rows, frozenset(names))


def verdict(found: Audit) -> str:
    """One line: the sum, and whether both sides are equal."""
    accepted, *parts = _counts(found)
    names = " + ".join(f"{count:,} {name}" for count, name in zip(parts, _COUNTS[1:], strict=True))
    if found["balanced"]:
        return f"balanced: {accepted:,} accepted = {names}"
    gap = f"{abs(_missing(found)):,} {'missing' if _missing(found) > 0 else 'too many'}"
    return f"NOT BALANCED: {accepted:,} accepted, but {names}: {gap}"


def _counts(row: Audit | AuditRow) -> tuple[int, ...]:
    return (row["accepted"], row["applied"], row["duplicates"], row["dead"], row["pending"])


def _missing(row: Audit | AuditRow) -> int:
    accepted, *parts = _counts(row)
    return accepted - sum(parts)
