"""Reads the Postgres tables: messages and their timelines, dead letters, counts.

A `TablesReader`: what each method promises is said in `sinks.tables.sqlite_reader`. Only reads, and may
be used by any number of threads and processes while the tables are written. Every answer is of one
moment. Before there are tables every answer is empty; trouble with the database raises `TablesError`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Final

from typing_extensions import override

from schemas.personal import Digests
from schemas.postback import Postback
from schemas.records import DeadLetterView, MessageDetail, MessageStatus
from sinks.personal.held import HeldList, Withheld
from sinks.tables.asking import Asking, asking_postgres
from sinks.tables.incident_reading import IncidentReading, links_of
from sinks.tables.pages import DEFAULT_ITEMS, MOST_ITEMS, Page, check_limit, cursor_number, page_of
from sinks.tables.postgres_connect import Connection, Row
from sinks.tables.postgres_personal import erasures, last_erasure
from sinks.tables.postgres_rows import MESSAGE_COLUMNS, TRANSITION_COLUMNS, message_bytes, message_of
from sinks.tables.postgres_search import can_be_asked, found_by, found_by_name
from sinks.tables.postgres_snapshots import Snapshots
from sinks.tables.search import MESSAGE_STATUSES, Search
from sinks.tables.sqlite_reader import MOST_BODY_BYTES, SHOWN_EACH_END
from sinks.tables.sqlite_rows import (
    DEAD_COLUMNS,
    DEAD_POSTBACK_COLUMNS,
    POSTBACK_COLUMNS,
    PostbackRow,
    dead_bytes,
    dead_of,
    dead_postback_of,
    transition_of,
)
from sinks.tables.tables_reader import AuditCount, Audited, BodyAt, Handled, Tail
from sinks.tables.timelines import with_bodies

#: Fetched at a time, where a page may end before its rows do: bodies and facts can be large.
_ROWS_AT_A_TIME: Final = 32

_MESSAGES: Final = f"SELECT seq, {', '.join(MESSAGE_COLUMNS)} FROM messages"  # noqa: S608  columns of our own
_TRANSITIONS: Final = f"SELECT seq, {', '.join(TRANSITION_COLUMNS)} FROM transitions"  # noqa: S608  columns of our own
_POSTBACKS: Final = f"SELECT {', '.join(POSTBACK_COLUMNS)} FROM postbacks"  # noqa: S608  columns of our own
_DEAD: Final = f"SELECT position, {', '.join(DEAD_COLUMNS)} FROM dead_letters"  # noqa: S608  columns of our own
_DEAD_POSTBACKS: Final = f"SELECT {', '.join(DEAD_POSTBACK_COLUMNS)} FROM dead_letters"  # noqa: S608  columns of our own
_AUDIT: Final = (
    "SELECT source, hour, applied, duplicates, dead, accepted - repeated FROM audit "
    'ORDER BY hour DESC, source COLLATE "C"'
)
_RAW_POSITIONS: Final = "SELECT partition, next_offset FROM positions WHERE topic = 'raw'"
_HAS_ERASURES: Final = "SELECT count(to_regclass('erasures'))"
_OPEN_DEAD: Final = "SELECT reason, count(*) FROM dead_letters WHERE retried_at IS NULL GROUP BY reason"
_LAST_TRANSITION: Final = "SELECT coalesce(max(seq), 0) FROM transitions"
_REASONS: Final = (
    "SELECT reason FROM (SELECT seq, reason FROM messages WHERE status = %s ORDER BY seq DESC LIMIT 50) AS newest "
    "WHERE reason IS NOT NULL ORDER BY seq DESC"
)


class PostgresReader(IncidentReading):
    """The read side of the tables at `url`, which is what libpq takes. Connects when it is asked something.

    Bodies of erased recipients are told by `digests`; without, none is shown where anybody was erased.
    """

    def __init__(self, url: str, digests: Digests | None = None) -> None:
        self._snapshots = Snapshots(url)
        self._held = HeldList(digests)

    def close(self) -> None:
        """Give the connections back; a reader that is closed may still finish what it is doing."""
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
        """Messages by first sight, newest first, for which all that is asked holds. Raises `CursorError`."""
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
        with self._snapshots.take() as db, closing(_some_rows(db, sql, *query.values)) as rows:
            return page_of(
                "messages",
                rows,
                limit=limit,
                number=_first,
                size_bytes=lambda row: message_bytes(row[1:]),
                view=lambda row: message_of(row[1:]),
            )

    def message(self, message_id: str, *, body_at: BodyAt) -> MessageDetail | None:
        """One message with what it went through, oldest first; `None` where there is none of this id."""
        if not can_be_asked(message_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, f"{_MESSAGES} WHERE message_id = %s", message_id), None)
            if found is None:
                return None
            transitions = _ends(db, _TRANSITIONS, "seq", message_id)
            postbacks = _ends(db, _POSTBACKS, "position", message_id)
            withheld = self._withheld(db, message_id)
            incidents = links_of(asking_postgres(db), message_id)
        return {
            **message_of(found[1:]),
            "transitions": [transition_of(row[1:]) for row in transitions],
            "postbacks": with_bodies(
                map(PostbackRow._make, postbacks), body_at, most_bytes=MOST_BODY_BYTES, withheld=withheld
            ),
            "incidents": incidents,
        }

    def _withheld(self, db: Connection | None, message_id: str) -> Withheld | None:
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
        """Dead letters with their exact bytes, newest first. Raises `CursorError`."""
        check_limit(limit)
        before = cursor_number("dead", cursor)
        asked = _given(reason=reason, source=source)
        if not all(map(can_be_asked, asked.values())):
            return Page([], None)
        conditions = [
            "position < %s",
            *(f"{name} = %s" for name in asked),
            *(["retried_at IS NULL"] if open_only else []),
        ]
        sql = f"{_DEAD} WHERE {' AND '.join(conditions)} ORDER BY position DESC LIMIT %s"
        with (
            self._snapshots.take() as db,
            closing(_some_rows(db, sql, before, *asked.values(), limit + 1)) as rows,
        ):
            return page_of(
                "dead",
                rows,
                limit=limit,
                number=_first,
                size_bytes=lambda row: dead_bytes(row[1:]),
                view=lambda row: dead_of(row[1:]),
            )

    def dead_one(self, dead_id: str) -> DeadLetterView | None:
        """One dead letter; `None` where there is none of this id."""
        if not can_be_asked(dead_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, f"{_DEAD} WHERE dead_id = %s", dead_id), None)
        return None if found is None else dead_of(found[1:])

    def dead_postback(self, dead_id: str) -> Postback | None:
        """One dead letter as the postback it was: exact bytes, encoding and all."""
        if not can_be_asked(dead_id):
            return None
        with self._snapshots.take() as db:
            found = next(_rows(db, f"{_DEAD_POSTBACKS} WHERE dead_id = %s", dead_id), None)
        return None if found is None else dead_postback_of(found)

    def last_transition(self) -> int:
        """The number of the newest transition: where `transitions_after` begins that wants only what comes."""
        with self._snapshots.take() as db:
            return _number(db, _LAST_TRANSITION)

    def transitions_after(
        self, seq: int, *, limit: int = MOST_ITEMS, status: str | None = None, source: str | None = None
    ) -> Tail:
        """What happened since `seq`, oldest first, at most `limit`. Numbers become visible in their order."""
        check_limit(limit)
        asked = _given(status=status, source=source)
        if not all(map(can_be_asked, asked.values())):
            return Tail([], seq)
        conditions = ["seq > %s", *(f"{name} = %s" for name in asked)]
        sql = f"{_TRANSITIONS} WHERE {' AND '.join(conditions)} ORDER BY seq LIMIT %s"
        with self._snapshots.take() as db:
            rows = list(_rows(db, sql, seq, *asked.values(), limit))
            reached = rows[-1][0] if len(rows) == limit else max(seq, _number(db, _LAST_TRANSITION))
        return Tail([transition_of(row[1:]) for row in rows], reached)

    def counts_by_status(self) -> dict[str, int]:
        """Status → messages that have it now. Reads one index whole."""
        with self._snapshots.take() as db:
            return dict(_rows(db, "SELECT status, count(*) FROM messages GROUP BY status"))

    def latest_reasons(self, *, most: int = 3) -> dict[str, list[str]]:
        """Status → different reasons its newest messages have, newest first, at most `most` each."""
        with self._snapshots.take() as db:
            found = {status: [row[0] for row in _rows(db, _REASONS, status)] for status in MESSAGE_STATUSES}
        return {status: list(dict.fromkeys(reasons))[:most] for status, reasons in found.items() if reasons}

    def progress(self) -> int:
        """0: these tables are never those of an embedded raw log."""
        return 0

    def audit_rows(self) -> Audited:
        """The counts and how far each raw partition was handled for them, of one moment."""
        with self._snapshots.take() as db:
            return Audited(0, _audit_counts(db), dict(_rows(db, _RAW_POSITIONS)))

    def handled(self) -> Handled:
        """What metrics show of the tables, of one moment."""
        with self._snapshots.take() as db:
            return Handled(0, _audit_counts(db), dict(_rows(db, _OPEN_DEAD)))

    @override
    @contextmanager
    def _asking(self) -> Iterator[Asking]:
        with self._snapshots.take() as db:
            yield asking_postgres(db)


def _rows(db: Connection | None, sql: str, *values: str | int) -> Iterator[Row]:
    """All rows; none where there are no tables yet."""
    return iter(()) if db is None else iter(db.execute(sql, values).fetchall())


def _some_rows(db: Connection | None, sql: str, *values: str | int) -> Generator[Row]:
    """The rows as they are asked for, of which a page may take only the first."""
    if db is None:
        return
    with db.cursor("page") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        yield from cursor.execute(sql, values)


def _number(db: Connection | None, sql: str) -> int:
    return next((int(row[0]) for row in _rows(db, sql)), 0)


def _first(row: Row) -> int:
    return int(row[0])


def _given(**asked: str | None) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value is not None}


def _audit_counts(db: Connection | None) -> list[AuditCount]:
    return [AuditCount(*row) for row in _rows(db, _AUDIT)]


def _ends(db: Connection | None, select: str, key: str, message_id: str) -> list[Row]:
    """The first and the last rows in the order of `key`, which is their first column."""
    first = list(_rows(db, f"{select} WHERE message_id = %s ORDER BY {key} LIMIT %s", message_id, SHOWN_EACH_END))
    if len(first) < SHOWN_EACH_END:
        return first
    rest = f"{select} WHERE message_id = %s AND {key} > %s ORDER BY {key} DESC LIMIT %s"
    return [*first, *reversed(list(_rows(db, rest, message_id, first[-1][0], SHOWN_EACH_END)))]
