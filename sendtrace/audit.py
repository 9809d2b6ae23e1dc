"""Does everything accepted add up? accepted = applied + folded + dead-lettered + pending (design §2.2, §8).

The two sides are counted apart: accepted and pending from the raw log, the rest from the tables. A
difference is shown, never levelled out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from schemas.records import Audit, AuditRow
from sinks.tables.tables_reader import AuditCount, Audited, TablesReader


@runtime_checkable
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


class CountedTopic(Protocol):
    """The raw topic as the audit sees it (`sendtrace.kafka_log_view.KafkaLogView`)."""

    def count_pending(self, raw_positions: Mapping[int, int]) -> Mapping[tuple[str, str], int]:
        """Bodies from those offsets, by partition, to where the topic ends now, by source and hour."""
        ...


def audit(reader: TablesReader, log: CountedLog | CountedTopic) -> Audit:
    """The account of one moment. Raises `sqlite3.Error`, `TablesError`, `OSError`, and on Kafka `BrokerError`.

    The tables come first, their counts and their position in one snapshot; the end of the log is
    asked for after that, so it lies behind the position and what is between the two is pending.
    """
    return _of_log(reader.audit_rows(), log) if isinstance(log, CountedLog) else _of_topic(reader.audit_rows(), log)


def _of_log(audited: Audited, log: CountedLog) -> Audit:
    # Who tells the end may hear of it later than the processor did; what was handled was in the log.
    end = max(audited.position, log.end_position())
    accepted = log.count_by_hour(end)
    return _account(audited.counts, accepted, log.count_from(audited.position, end))


def _of_topic(audited: Audited, topic: CountedTopic) -> Audit:
    """The sink counted the raw topic itself up to its positions, apart from what the worker says became of it."""
    pending = topic.count_pending(audited.raw_positions)
    accepted = Counter(pending)
    accepted.update({(count.source, count.hour): count.accepted for count in audited.counts})
    return _account(audited.counts, accepted, pending)


def _account(
    handled: Sequence[AuditCount], accepted: Mapping[tuple[str, str], int], pending: Mapping[tuple[str, str], int]
) -> Audit:
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
