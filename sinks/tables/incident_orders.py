"""What people order of incidents: acknowledge, silence, resolve. The one thing the reading side writes of them.

The same for SQLite and Postgres, beside a running pipeline or without one: every order is one short
transaction on columns and tables that are people's, and a resolved incident is told like any other change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Final

from schemas.codec import encode
from schemas.incident_views import SilenceLabel, id_of_resolved_by_hand
from schemas.incidents import Incident, IncidentChange
from schemas.times import epoch_ms
from sinks.tables.asking import Asking
from sinks.tables.incident_rows import INCIDENT_COLUMNS, incident_of

_COLUMNS: Final = ", ".join(INCIDENT_COLUMNS)
# An acknowledgement is of one spell of trouble: one from before the incident opened again is over.
_ACKNOWLEDGE: Final = (
    "UPDATE incidents SET acknowledged_at ="  # noqa: S608  columns of our own
    " CASE WHEN acknowledged_at >= opened_at THEN acknowledged_at ELSE ? END"
    f" WHERE incident_id = ? RETURNING {_COLUMNS}"
)
_SILENCE: Final = f"UPDATE incidents SET silenced_until = ? WHERE incident_id = ? RETURNING {_COLUMNS}"  # noqa: S608  as above
_RESOLVE: Final = (
    "UPDATE incidents SET state = 'resolved', resolved_at = ?, closed_by_hand_at = ?"  # noqa: S608  as above
    f" WHERE incident_id = ? AND state = 'open' RETURNING {_COLUMNS}"
)
_TELL: Final = (
    "INSERT INTO incident_changes (change_id, incident_id, change, at, record, made_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (change_id) DO NOTHING"
)
# The step looks at it with its next call, whatever comes, and goes on from there.
_LOOK_AT: Final = "UPDATE incident_groups SET due_ms = 0 WHERE group_id = ?"
_SILENCE_LABEL: Final = "INSERT INTO silences (label, value, until, made_at) VALUES (?, ?, ?, ?)"
_END_SILENCES: Final = "UPDATE silences SET until = ? WHERE label = ? AND value = ? AND until > ? RETURNING silence_id"


class IncidentOrders(ABC):
    """Orders to one set of tables. Times are texts of `schemas.times`; `now` is the clock's.

    Every method that takes an incident gives it back as it is then, or `None` where there is none of this id
    (or it was not open, of `resolve`). Raises `sqlite3.Error` or `TablesError`.
    """

    @abstractmethod
    def _ordering(self) -> AbstractContextManager[Asking]:
        """One transaction."""

    def acknowledge(self, incident_id: str, *, now: str) -> Incident | None:
        """Somebody took it on; the first who did so stays."""
        return self._change(_ACKNOWLEDGE, now, incident_id)

    def silence(self, incident_id: str, *, until: str | None) -> Incident | None:
        """Tell nobody of this one until then; `None` ends it."""
        return self._change(_SILENCE, until, incident_id)

    def resolve(self, incident_id: str, *, now: str) -> Incident | None:
        """It is over: trouble before now counts no more, and people are told. `None` too where it is not open.

        The incident step says the same when it comes to it, under the same change id.
        """
        with self._ordering() as ask:
            found = ask.rows(_RESOLVE, now, now, incident_id) if _can_order(ask, incident_id) else []
            if not found:
                return None
            incident = incident_of(found[0])
            change: IncidentChange = {
                "change_id": id_of_resolved_by_hand(incident_id, epoch_ms(now)),
                "change": "resolved",
                "at": now,
                "incident": incident,
            }
            ask.rows(_LOOK_AT, incident_id)
            ask.rows(_TELL, change["change_id"], incident_id, "resolved", now, encode(change).decode(), now)
            return incident

    def silence_label(self, label: SilenceLabel, value: str, *, until: str, now: str) -> bool:
        """Tell nobody of incidents with this label until then; false where there are no tables of incidents yet."""
        with self._ordering() as ask:
            if not _can_order(ask, value):
                return False
            ask.rows(_SILENCE_LABEL, label, value, until, now)
            return True

    def end_silences(self, label: SilenceLabel, value: str, *, now: str) -> int:
        """End those in force with this label and value; returns their number."""
        with self._ordering() as ask:
            return len(ask.rows(_END_SILENCES, now, label, value, now)) if _can_order(ask, value) else 0

    def _change(self, sql: str, value: str | None, incident_id: str) -> Incident | None:
        with self._ordering() as ask:
            found = ask.rows(sql, value, incident_id) if _can_order(ask, incident_id) else []
        return incident_of(found[0]) if found else None


def _can_order(ask: Asking, text: str) -> bool:
    return ask.can_ask(text) and ask.has("incidents")
