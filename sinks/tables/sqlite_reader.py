"""Reads the SQLite tables: messages and their timelines, dead letters, counts.

Only reads, and may be used by any number of threads and processes while the tables are written.
Every answer is of one moment. Before the file is there every answer is empty; a disk or file that
cannot be read raises `sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typing_extensions import override

from schemas.personal import Digests
from schemas.postback import Postback
from schemas.records import DeadLetterView, MessageDetail, MessageStatus
from sinks.personal.held import HeldList, Withheld
from sinks.tables.asking import Asking, asking_sqlite
from sinks.tables.incident_reading import IncidentReading, links_of
from sinks.tables.pages import DEFAULT_ITEMS, MOST_ITEMS, Page, check_limit, cursor_number, page_of
from sinks.tables.sqlite_personal import erasures, last_erasure
from sinks.tables.sqlite_rows import (
    DEAD_COLUMNS,
    DEAD_POSTBACK_COLUMNS,
    MESSAGE_COLUMNS,
    POSTBACK_COLUMNS,
    TRANSITION_COLUMNS,
    PostbackRow,
    Row,
    dead_bytes,
    dead_of,
    dead_postback_of,
    message_bytes,
    message_of,
    transition_of,
)
from sinks.tables.sqlite_search import MESSAGE_STATUSES, Search, found_by, found_by_name, is_text
from sinks.tables.sqlite_snapshots import Snapshots
from sinks.tables.tables_reader import AuditCount, Audited, BodyAt, Handled, Tail
from sinks.tables.timelines import with_bodies

__all__ = ["AuditCount", "Audited", "BodyAt", "Handled", "SqliteReader", "Tail"]

#: A timeline shows this many of a message's transitions and postbacks from each end.
SHOWN_EACH_END: Final = 500
#: Bodies in one timeline together; further ones are left out and flagged.
MOST_BODY_BYTES: Final = 16 * 1024 * 1024

_MESSAGES: Final = f"SELECT seq, {', '.join(MESSAGE_COLUMNS)} FROM messages"  # noqa: S608  columns of our own
_TRANSITIONS: Final = f"SELECT seq, {', '.join(TRANSITION_COLUMNS)} FROM transitions"  # noqa: S608  columns of our own
_POSTBACKS: Final = f"SELECT {', '.join(POSTBACK_COLUMNS)} FROM postbacks"  # noqa: S608  columns of our own
_DEAD: Final = f"SELECT position, {', '.join(DEAD_COLUMNS)} FROM dead_letters"  # noqa: S608  columns of our own
_DEAD_POSTBACK: Final = f"SELECT {', '.join(DEAD_POSTBACK_COLUMNS)} FROM dead_letters WHERE dead_id = ?"  # noqa: S608  as above
_AUDIT: Final = "SELECT source, hour, applied, duplicates, dead FROM audit ORDER BY hour DESC, source"
_AUDIT_ON_KAFKA: Final = (
    "SELECT source, hour, applied, duplicates, dead, accepted - repeated FROM audit ORDER BY hour DESC, source"
)
_RAW_POSITIONS: Final = "SELECT partition, next_offset FROM positions WHERE topic = 'raw'"
_IS_ON_KAFKA: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'positions'"
_HAS_ERASURES: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'erasures'"
_OPEN_DEAD: Final = "SELECT reason, count(*) FROM dead_letters WHERE retried_at IS NULL GROUP BY reason"
_LAST_TRANSITION: Final = "SELECT coalesce(max(seq), 0) FROM transition_log"
_REASONS: Final = (
    "SELECT reason FROM messages WHERE seq IN (SELECT seq FROM messages WHERE status = ? ORDER BY seq DESC LIMIT 50) "
    "AND reason IS NOT NULL ORDER BY seq DESC"
)
_POSITION: Final = "SELECT coalesce(max(position), 0) FROM progress WHERE partition = 0"


class SqliteReader(IncidentReading):
    """The read side of the tables in `path`.

    Bodies of erased recipients are told by `digests`; without, none is shown where anybody was erased.
    """

    def __init__(self, path: Path, digests: Digests | None = None) -> None:
        self._snapshots = Snapshots(path)
        self._held = HeldList(digests)

    def close(self) -> None:
        """Give the file back; a reader that is closed may still finish what it is doing."""
        self._snapshots.close()

    def messages(
        self,
        *,
        q: str | None = None,
        dispatch_id: str | None = None,
        external_send_id: str | None = None,
        source: str | None = None,
        status: str | None = None,
        campaign_id: str | None = None,
        outcome: str | None = None,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[MessageStatus]:
        """Messages by first sight, newest first, for which all that is asked holds.

        `q` is any identifier the provider gave, in full: message, dispatch, send, campaign, contact,
        form. Pages neither repeat nor miss a message while others come in; one that changes its status
        meanwhile is shown, or not, as it is when its page is read. Raises `CursorError`.
        """
        check_limit(limit)
        search = Search(
            q=q,
            dispatch_id=dispatch_id,
            external_send_id=external_send_id,
            source=source,
            status=status,
            campaign_id=campaign_id,
            outcome=outcome,
        )
        query = found_by(search, before=cursor_number("messages", cursor), limit=limit + 1)
        if query is None:
            return Page([], None)
        sql = f"{_MESSAGES} WHERE seq IN ({query.sql}) ORDER BY seq DESC"
        with self._snapshots.take() as db:
            return page_of(
                "messages",
                _rows(db, sql, *query.values),
                limit=limit,
                number=_first,
                size_bytes=lambda row: message_bytes(row[1:]),
                view=lambda row: message_of(row[1:]),
            )

    def message(self, message_id: str, *, body_at: BodyAt) -> MessageDetail | None:
        """One message with what it went through, oldest first; `None` where there is none of this id.

        Of a message with thousands of postbacks the first and the last `SHOWN_EACH_END` are given;
        `version` counts them all. `body_at(position)` gives a body out of the raw log, or `None`.
        """
        if not is_text(message_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, f"{_MESSAGES} WHERE message_id = ?", message_id), None)
            if found is None:
                return None
            transitions = _ends(db, _TRANSITIONS, "message_id", "seq", message_id)
            postbacks = _ends(db, _POSTBACKS, "message_seq", "position", found[0])
            withheld = self._withheld(db, message_id)
            incidents = links_of(asking_sqlite(db), message_id)
        return {
            **message_of(found[1:]),
            "transitions": [transition_of(row[1:]) for row in transitions],
            "postbacks": with_bodies(
                map(PostbackRow._make, postbacks), body_at, most_bytes=MOST_BODY_BYTES, withheld=withheld
            ),
            "incidents": incidents,
        }

    def _withheld(self, db: sqlite3.Connection | None, message_id: str) -> Withheld | None:
        if db is None or not _number(db, _HAS_ERASURES):
            return None
        return self._held.withheld(last_erasure(db), lambda: erasures(db), message_id)

    def find(self, identifier: str, *, limit: int = DEFAULT_ITEMS) -> list[str]:
        """The ids of the newest messages of that name: message, dispatch, send, 360NRS or contact id."""
        check_limit(limit)
        query = found_by_name(identifier, limit=limit)
        if query is None:
            return []
        sql = f"SELECT message_id FROM messages WHERE seq IN ({query.sql}) ORDER BY seq DESC"  # noqa: S608  marks only
        with self._snapshots.take() as db:
            return [row[0] for row in _rows(db, sql, *query.values)]

    def dead(
        self,
        *,
        reason: str | None = None,
        source: str | None = None,
        open_only: bool = False,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[DeadLetterView]:
        """Dead letters with their exact bytes, newest first. `open_only`: without those a retry applied.

        Raises `CursorError`.
        """
        check_limit(limit)
        before = cursor_number("dead", cursor)
        asked = {name: value for name, value in (("reason", reason), ("source", source)) if value is not None}
        if not all(map(is_text, asked.values())):
            return Page([], None)
        conditions = [
            "position < ?",
            *(f"{name} = ?" for name in asked),
            *(["retried_at IS NULL"] if open_only else []),
        ]
        sql = f"{_DEAD} WHERE {' AND '.join(conditions)} ORDER BY position DESC LIMIT ?"
        with self._snapshots.take() as db:
            return page_of(
                "dead",
                _rows(db, sql, before, *asked.values(), limit + 1),
                limit=limit,
                number=_first,
                size_bytes=lambda row: dead_bytes(row[1:]),
                view=lambda row: dead_of(row[1:]),
            )

    def dead_one(self, dead_id: str) -> DeadLetterView | None:
        """One dead letter; `None` where there is none of this id."""
        if not is_text(dead_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, f"{_DEAD} WHERE dead_id = ?", dead_id), None)
        return None if found is None else dead_of(found[1:])

    def dead_postback(self, dead_id: str) -> Postback | None:
        """One dead letter as the postback it was, to be handled again; `None` where there is none of this id."""
        if not is_text(dead_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, _DEAD_POSTBACK, dead_id), None)
        return None if found is None else dead_postback_of(found)

    def last_transition(self) -> int:
        """The number of the newest transition: where `transitions_after` begins that wants only what comes."""
        with self._snapshots.take() as db:
            return _number(db, _LAST_TRANSITION)

    def transitions_after(
        self, seq: int, *, limit: int = MOST_ITEMS, status: str | None = None, source: str | None = None
    ) -> Tail:
        """What happened since `seq`, oldest first, at most `limit`; go on from the answer's `seq`.

        `status` is the message's after the transition.
        """
        check_limit(limit)
        asked = {name: value for name, value in (("status", status), ("source", source)) if value is not None}
        if not all(map(is_text, asked.values())):
            return Tail([], seq)
        conditions = ["seq > ?", *(f"+{name} = ?" for name in asked)]
        sql = f"{_TRANSITIONS} WHERE {' AND '.join(conditions)} ORDER BY seq LIMIT ?"
        with self._snapshots.take() as db:
            rows = list(_rows(db, sql, seq, *asked.values(), limit))
            reached = rows[-1][0] if len(rows) == limit else max(seq, _number(db, _LAST_TRANSITION))
        return Tail([transition_of(row[1:]) for row in rows], reached)

    def counts_by_status(self) -> dict[str, int]:
        """Status → messages that have it now. Reads one index whole: some 100 ns a message."""
        with self._snapshots.take() as db:
            return _counted(db, "SELECT status, count(*) FROM messages GROUP BY status")

    def latest_reasons(self, *, most: int = 3) -> dict[str, list[str]]:
        """Status → different reasons its newest messages have, newest first, at most `most` each."""
        with self._snapshots.take() as db:
            found = {status: [row[0] for row in _rows(db, _REASONS, status)] for status in MESSAGE_STATUSES}
        return {status: list(dict.fromkeys(reasons))[:most] for status, reasons in found.items() if reasons}

    def progress(self) -> int:
        """Every record of the raw log before this position is in the tables."""
        with self._snapshots.take() as db:
            return _number(db, _POSITION)

    def audit_rows(self) -> Audited:
        """The counts and the position they are true for, of one moment."""
        with self._snapshots.take() as db:
            return Audited(_number(db, _POSITION), _audit_counts(db), _raw_positions(db))

    def handled(self) -> Handled:
        """What metrics show of the tables, of one moment."""
        with self._snapshots.take() as db:
            return Handled(_number(db, _POSITION), _audit_counts(db), _counted(db, _OPEN_DEAD))

    @override
    @contextmanager
    def _asking(self) -> Iterator[Asking]:
        with self._snapshots.take() as db:
            yield asking_sqlite(db)


def _rows(db: sqlite3.Connection | None, sql: str, *values: str | int) -> Iterator[Row]:
    """The rows as they are asked for; none where there are no tables yet."""
    return iter(()) if db is None else db.execute(sql, values)


def _number(db: sqlite3.Connection | None, sql: str) -> int:
    return next((int(row[0]) for row in _rows(db, sql)), 0)


def _counted(db: sqlite3.Connection | None, sql: str) -> dict[str, int]:
    return {word: count for word, count in _rows(db, sql)}  # noqa: C416  dict() does not see pairs in rows


def _first(row: Row) -> int:
    return int(row[0])


def _raw_positions(db: sqlite3.Connection | None) -> dict[int, int]:
    rows = _rows(db, _RAW_POSITIONS) if _number(db, _IS_ON_KAFKA) else ()
    return {partition: next_offset for partition, next_offset in rows}  # noqa: C416  as in `_counted`


def _audit_counts(db: sqlite3.Connection | None) -> list[AuditCount]:
    """Also of a file that no release since 0003 has written: reading changes nothing, so nothing is added to it."""
    select = _AUDIT_ON_KAFKA if _number(db, _IS_ON_KAFKA) else _AUDIT
    return [AuditCount(*row) for row in _rows(db, select)]


def _ends(db: sqlite3.Connection | None, select: str, column: str, key: str, value: str | int) -> list[Row]:
    """The first and the last rows in the order of `key`, which is their first column."""
    first = list(_rows(db, f"{select} WHERE {column} = ? ORDER BY {key} LIMIT ?", value, SHOWN_EACH_END))
    if len(first) < SHOWN_EACH_END:
        return first
    rest = f"{select} WHERE {column} = ? AND {key} > ? ORDER BY {key} DESC LIMIT ?"
    return [*first, *reversed(list(_rows(db, rest, value, first[-1][0], SHOWN_EACH_END)))]
