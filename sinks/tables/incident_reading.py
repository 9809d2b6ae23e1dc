"""Reads incidents: lists in pages, one with its history, those of a message, what is silenced.

The same for SQLite and Postgres (`sinks.tables.asking`). Only reads. Tables that are older than this
release have no incidents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from schemas.incident_views import IncidentDetail, IncidentNotification, IncidentStep, Silence
from schemas.incidents import Incident
from schemas.records import IncidentLink
from sinks.tables.asking import Asking, Row
from sinks.tables.incident_rows import (
    CHANGE_COLUMNS,
    INCIDENT_COLUMNS,
    incident_bytes,
    incident_of,
    notification_of,
    step_of,
)
from sinks.tables.pages import DEFAULT_ITEMS, MOST_ITEMS, Page, check_limit, cursor_in_time, page_by, place_in_time

#: A history shows this many changes from each end.
SHOWN_EACH_END: Final = 100
_MOST_LINKS: Final = 50
_MOST_NOTIFICATIONS: Final = 200

_KIND: Final = "incidents"
_INCIDENTS: Final = f"SELECT {', '.join(INCIDENT_COLUMNS)} FROM incidents"  # noqa: S608  columns of our own
_CHANGES: Final = f"SELECT seq, {', '.join(CHANGE_COLUMNS)} FROM incident_changes WHERE incident_id = ?"  # noqa: S608  as above
_ID: Final = INCIDENT_COLUMNS.index("incident_id")
_LAST_SEEN: Final = INCIDENT_COLUMNS.index("last_seen")
_LINKS: Final = (
    "SELECT incident_id, title, state FROM incidents"
    " WHERE incident_id IN (SELECT incident_id FROM incident_samples WHERE message_id = ?)"
    " ORDER BY last_seen DESC, incident_id LIMIT ?"
)
_NOTIFICATIONS: Final = (
    "SELECT d.target, d.change, d.state, d.reason, d.taken_at, coalesce(m.attempts, 0), m.tried_at, m.next_at,"
    " d.settled_at, m.answer FROM deliveries AS d LEFT JOIN notification_messages AS m ON m.message_id = d.message_id"
    " WHERE d.incident_id = ? ORDER BY d.seq DESC, d.target DESC LIMIT ?"
)
_OPEN: Final = "SELECT severity, count(*) FROM incidents WHERE state = 'open' GROUP BY severity"
_SILENCES: Final = (
    "SELECT label, value, until, made_at FROM silences WHERE until > ? ORDER BY until, silence_id LIMIT ?"
)
_BY_PREFIX: Final = "SELECT incident_id FROM incidents WHERE substr(incident_id, 1, ?) = ? ORDER BY incident_id LIMIT ?"


class IncidentReading(ABC):
    """The part of a `TablesReader` that is about incidents."""

    @abstractmethod
    def _asking(self) -> AbstractContextManager[Asking]:
        """One snapshot."""

    def incidents(
        self,
        *,
        state: str | None = None,
        severity: str | None = None,
        source: str | None = None,
        campaign_id: str | None = None,
        class_: str | None = None,
        rule: str | None = None,
        limit: int = DEFAULT_ITEMS,
        cursor: str | None = None,
    ) -> Page[Incident]:
        """Incidents by their latest news, newest first, for which all that is asked holds.

        Pages never repeat one; one that gets news while pages are read moves to the front, and is not met
        again behind it. Raises `CursorError`.
        """
        check_limit(limit)
        given = {"state": state, "severity": severity, "source": source, "campaign_id": campaign_id}
        asked = {**given, "class": class_, "rule": rule}
        conditions = [f"{name} = ?" for name, value in asked.items() if value is not None]
        values = [value for value in asked.values() if value is not None]
        if cursor is not None:
            conditions.append("(last_seen, incident_id) < (?, ?)")
            values.extend(place_in_time(_KIND, cursor))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"{_INCIDENTS}{where} ORDER BY last_seen DESC, incident_id DESC LIMIT ?"
        with self._asking() as ask:
            rows = ask.rows(sql, *values, limit + 1) if _can_ask(ask, *values) else []
        return page_by(rows, limit=limit, cursor=_cursor, size_bytes=incident_bytes, view=incident_of)

    def incident(self, incident_id: str) -> IncidentDetail | None:
        """One incident with its history, oldest first; `None` where there is none of this id."""
        with self._asking() as ask:
            if not _can_ask(ask, incident_id):
                return None
            found = ask.rows(f"{_INCIDENTS} WHERE incident_id = ?", incident_id)
            if not found:
                return None
            changes, notifications = _history(ask, incident_id), _notifications(ask, incident_id)
        return {**incident_of(found[0]), "changes": changes, "notifications": notifications}

    def incident_ids(self, prefix: str, *, limit: int = 10) -> list[str]:
        """The ids that begin with a text."""
        with self._asking() as ask:
            rows = ask.rows(_BY_PREFIX, len(prefix), prefix, limit) if _can_ask(ask, prefix) else []
        return [row[0] for row in rows]

    def incidents_of_message(self, message_id: str) -> list[IncidentLink]:
        """The incidents that have the message as a sample, the one with the latest news first."""
        with self._asking() as ask:
            return links_of(ask, message_id)

    def open_incidents(self) -> dict[str, int]:
        """Severity → incidents that are open."""
        with self._asking() as ask:
            return {severity: count for severity, count in ask.rows(_OPEN)} if _can_ask(ask) else {}  # noqa: C416  dict() does not see pairs in rows

    def parked_notifications(self, incident_ids: Sequence[str]) -> dict[str, int]:
        """Of those incidents: how many notifications no target took; the others are left out."""
        marks = ", ".join("?" * len(incident_ids))
        sql = (
            "SELECT incident_id, count(*) FROM deliveries"  # noqa: S608  only marks
            f" WHERE incident_id IN ({marks}) AND state = 'parked' GROUP BY incident_id"
        )
        with self._asking() as ask:
            if not incident_ids or not _can_ask(ask, *incident_ids) or not ask.has("deliveries"):
                return {}
            return {incident_id: count for incident_id, count in ask.rows(sql, *incident_ids)}  # noqa: C416  as above

    def silences(self, at: str) -> list[Silence]:
        """The silences by label that are in force at a time, the first to end first."""
        with self._asking() as ask:
            rows = ask.rows(_SILENCES, at, MOST_ITEMS) if _can_ask(ask) else []
        return [{"label": row[0], "value": row[1], "until": row[2], "made_at": row[3]} for row in rows]


def links_of(ask: Asking, message_id: str) -> list[IncidentLink]:
    """See `IncidentReading.incidents_of_message`."""
    rows = ask.rows(_LINKS, message_id, _MOST_LINKS) if _can_ask(ask, message_id) else []
    return [{"incident_id": row[0], "title": row[1], "state": row[2]} for row in rows]


def _can_ask(ask: Asking, *values: str) -> bool:
    return all(map(ask.can_ask, values)) and ask.has("incidents")


def _cursor(row: Row) -> str:
    return cursor_in_time(_KIND, row[_LAST_SEEN], row[_ID])


def _history(ask: Asking, incident_id: str) -> list[IncidentStep]:
    """The first and the last changes, oldest first."""
    first = ask.rows(f"{_CHANGES} ORDER BY seq LIMIT ?", incident_id, SHOWN_EACH_END)
    last: list[Row] = []
    if len(first) == SHOWN_EACH_END:
        last = ask.rows(f"{_CHANGES} AND seq > ? ORDER BY seq DESC LIMIT ?", incident_id, first[-1][0], SHOWN_EACH_END)
    return [step_of(row[1:]) for row in (*first, *reversed(last))]


def _notifications(ask: Asking, incident_id: str) -> list[IncidentNotification]:
    """The latest, oldest first."""
    rows = ask.rows(_NOTIFICATIONS, incident_id, _MOST_NOTIFICATIONS) if ask.has("deliveries") else []
    return [notification_of(row) for row in reversed(rows)]
