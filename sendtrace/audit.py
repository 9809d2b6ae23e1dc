"""Does everything accepted add up? accepted = applied + folded + dead-lettered + pending (design §2.2, §8).

The two sides are counted apart: accepted and pending from the raw log, the rest from the tables. A
difference is shown, never levelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schemas.records import Audit, AuditRow
from sinks.tables.sqlite_reader import AuditCount, SqliteReader


class CountedLog(Protocol):
    """The raw log as the audit sees it (`ingest.file_log_reader.FileLogReader`)."""

    def end_position(self) -> int:
        """Where the log ends now: every record before it is durable."""
        ...

    def count_by_hour(self, end: int) -> Mapping[tuple[str, str], int]:
        """Bodies kept before `end`, by source and hour."""
        ...

    def count_from(self, position: int, end: int) -> Mapping[tuple[str, str], int]:
        """Bodies kept from `position` to before `end`, by source and hour."""
        ...


def audit(reader: SqliteReader, log_reader: CountedLog) -> Audit:
    """The account of one moment. Raises `sqlite3.Error` and `OSError`.

    The tables come first, their counts and their position in one snapshot; the end of the log is
    asked for after that, so it lies behind the position and what is between the two is pending.
    """
    position, handled = reader.audit_rows()
    # Who tells the end may hear of it later than the processor did; what was handled was in the log.
    end = max(position, log_reader.end_position())
    accepted = log_reader.count_by_hour(end)
    pending = log_reader.count_from(position, end)
    known = {(count.source, count.hour): count for count in handled}
    keys = sorted({*accepted, *pending, *known})
    keys.sort(key=_hour, reverse=True)  # newest first, and within an hour still by source
    rows = [
        _row(known.get(key, AuditCount(*key, 0, 0, 0)), accepted=accepted.get(key, 0), pending=pending.get(key, 0))
        for key in keys
    ]
    return {
        "accepted": sum(row["accepted"] for row in rows),
        "applied": sum(row["applied"] for row in rows),
        "duplicates": sum(row["duplicates"] for row in rows),
        "dead": sum(row["dead"] for row in rows),
        "pending": sum(row["pending"] for row in rows),
        "balanced": all(map(adds_up, rows)),  # and so does the total, being their sum
        "rows": rows,
    }


def adds_up(row: AuditRow) -> bool:
    """Whether everything accepted in a row is accounted for, and nothing else."""
    return row["accepted"] == row["applied"] + row["duplicates"] + row["dead"] + row["pending"]


def _hour(key: tuple[str, str]) -> str:
    return key[1]


def _row(count: AuditCount, *, accepted: int, pending: int) -> AuditRow:
    return {
        "source": count.source,
        "hour": count.hour,
        "accepted": accepted,
        "applied": count.applied,
        "duplicates": count.duplicates,
        "dead": count.dead,
        "pending": pending,
    }
