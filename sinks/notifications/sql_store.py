"""The store in SQL that SQLite and Postgres read alike; how a transaction begins is the subclass's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, cast

import orjson

from schemas.incidents import Incident, IncidentChange, Severity
from schemas.times import epoch_ms, iso_ms
from sinks.notifications.planning import Plan
from sinks.notifications.records import TOLD_CHANGES, Message, Notice, Outcome, Pending, People, Silenced, Waiting, rank
from sinks.notifications.store import MOST_WAITING, TargetCounts
from sinks.tables.asking import Asking

_CHANGES_AT_ONCE: Final = 500
_IDS_AT_ONCE: Final = 500
_MOST_SILENCES: Final = 1_000
#: No transaction that makes a change takes longer.
_SETTLED_MS: Final = 10_000
_NEXT_CHANGES: Final = "SELECT seq, record, made_at FROM incident_changes WHERE seq >= ? ORDER BY seq LIMIT ?"
_NOTED: Final = "SELECT seq FROM deliveries WHERE target = ? AND seq >= ?"
_WAITING: Final = "target = ? AND state = 'waiting' AND message_id IS NULL"
_COLUMNS: Final = tuple(Incident.__annotations__)
_MARKS: Final = {"silenced_until", "acknowledged_at"}


class SqlStore(ABC):
    """A `NotificationStore`."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Asking]:
        """One transaction, written when the block ends well."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Asking]:
        """One snapshot."""

    @abstractmethod
    def close(self) -> None:
        """See `NotificationStore`."""

    def begin(self, targets: Collection[str], now_ms: int) -> None:
        """See `NotificationStore`."""
        now = iso_ms(now_ms)
        with self._writing() as ask:
            known = {row[0] for row in ask.rows("SELECT target FROM notification_targets")}
            for gone in known - set(targets):
                _forget(ask, gone, now)
            for new in set(targets) - known:
                ask.rows("INSERT INTO notification_targets VALUES (?, ?, ?)", new, _first_of(ask, now), now)

    def take_in(self, target: str, is_for: Callable[[IncidentChange], bool], now_ms: int) -> int:
        """See `NotificationStore`."""
        with self._reading() as ask:  # mostly there is nothing, and a writer would hold up others
            (at,) = ask.rows("SELECT next_seq FROM notification_targets WHERE target = ?", target)
            found = ask.rows(_NEXT_CHANGES, at[0], _CHANGES_AT_ONCE)
            if not found or _is_full(ask, target):
                return 0
            noted = {row[0] for row in ask.rows(_NOTED, target, at[0])}
        changes = [(seq, _change(record)) for seq, record, _ in found]
        new = [(seq, change) for seq, change in changes if seq not in noted and _is_told(change) and is_for(change)]
        next_seq = _next_seq(at[0], [(seq, made_at) for seq, _, made_at in found], now_ms)
        if new or next_seq > at[0]:
            with self._writing() as ask:
                for seq, change in new:
                    _note(ask, target, seq, change, iso_ms(now_ms))
                ask.rows("UPDATE notification_targets SET next_seq = ? WHERE target = ?", next_seq, target)
        return len(new)

    def waiting(self, target: str, now_ms: int) -> Waiting:
        """See `NotificationStore`."""
        read = (
            "SELECT severity, change = 'resolved', count(*), min(taken_at) FROM deliveries "  # noqa: S608  text of our own
            f"WHERE {_WAITING} AND not_before <= ? GROUP BY severity, change = 'resolved'"
        )
        with self._reading() as ask:
            rows = ask.rows(read, target, iso_ms(now_ms))
        open_ones: list[Severity] = [severity for severity, is_over, _, _ in rows if not is_over]
        open_ones.sort(key=rank)
        return Waiting(
            changes=sum(row[2] for row in rows),
            oldest_ms=min((epoch_ms(row[3]) for row in rows), default=0),
            worst=open_ones[-1] if open_ones else None,
        )

    def pending(self, target: str) -> Sequence[Pending]:
        """See `NotificationStore`."""
        read = (
            "SELECT d.seq, d.taken_at, d.held, c.record FROM deliveries AS d "  # noqa: S608  text of our own
            f"JOIN incident_changes AS c ON c.change_id = d.change_id WHERE {_WAITING} ORDER BY d.seq"
        )
        with self._reading() as ask:
            rows = ask.rows(read, target)
        return [Pending(seq, epoch_ms(taken), bool(held), _change(record)) for seq, taken, held, record in rows]

    def told(self, target: str) -> Mapping[str, bool]:
        """See `NotificationStore`."""
        with self._reading() as ask:
            rows = ask.rows("SELECT incident_id, counted FROM notification_told WHERE target = ?", target)
        return {incident_id: bool(counted) for incident_id, counted in rows}

    def people(self, incident_ids: Collection[str], now_ms: int) -> People:
        """See `NotificationStore`."""
        found: dict[str, Incident] = {}
        with self._reading() as ask:
            for ids in _parts(sorted(incident_ids)):
                marks = ", ".join("?" * len(ids))
                read = f"SELECT {', '.join(_COLUMNS)} FROM incidents WHERE incident_id IN ({marks})"  # noqa: S608  our own columns and marks
                for row in ask.rows(read, *ids):
                    incident = dict(zip(_COLUMNS, row, strict=True))
                    incident["samples"] = orjson.loads(incident["samples"])
                    found[incident["incident_id"]] = cast(Incident, incident)
            silences = ask.rows(
                "SELECT label, value, until FROM silences WHERE until > ? ORDER BY until DESC LIMIT ?",
                iso_ms(now_ms),
                _MOST_SILENCES,
            )
        return People(found, [Silenced(label, value, epoch_ms(until)) for label, value, until in silences])

    def tried(self, target: str, since_ms: int) -> Sequence[int]:
        """See `NotificationStore`."""
        read = "SELECT coalesce(tried_at, made_at) FROM notification_messages WHERE target = ? AND {} >= ?"
        since = iso_ms(since_ms)
        with self._reading() as ask:
            rows = [
                *ask.rows(read.format("tried_at"), target, since),
                *ask.rows(read.format("made_at") + " AND tried_at IS NULL", target, since),
            ]
        return [epoch_ms(row[0]) for row in rows]

    def put(self, target: str, plan: Plan, message_id: str, now_ms: int) -> None:
        """See `NotificationStore`."""
        now = iso_ms(now_ms)
        with self._writing() as ask:
            for change_id, reason in plan.dropped.items():
                ask.rows(
                    "UPDATE deliveries SET state = 'dropped', reason = ?, settled_at = ? "
                    "WHERE target = ? AND change_id = ?",
                    *(reason, now, target, change_id),
                )
            for change_id, until_ms in plan.held.items():
                ask.rows(
                    "UPDATE deliveries SET held = 1, not_before = ? WHERE target = ? AND change_id = ?",
                    *(iso_ms(until_ms), target, change_id),
                )
            for incident_id in plan.forget:
                ask.rows("DELETE FROM notification_told WHERE target = ? AND incident_id = ?", target, incident_id)
            if plan.notice is not None:
                ask.rows(
                    "INSERT INTO notification_messages (message_id, target, state, notice, made_at, attempts, next_at) "
                    "VALUES (?, ?, 'sending', ?, ?, 0, ?)",
                    *(message_id, target, orjson.dumps(plan.notice).decode(), now, now),
                )
                for change_id in plan.changes:
                    ask.rows(
                        "UPDATE deliveries SET message_id = ? WHERE target = ? AND change_id = ?",
                        *(message_id, target, change_id),
                    )

    def in_hand(self, target: str) -> Message | None:
        """See `NotificationStore`."""
        read = (
            "SELECT message_id, notice, made_at, attempts, next_at FROM notification_messages "
            "WHERE target = ? AND state = 'sending' ORDER BY made_at LIMIT 1"
        )
        with self._reading() as ask:
            rows = ask.rows(read, target)
        if not rows:
            return None
        message_id, notice, made_at, attempts, next_at = rows[0]
        return Message(
            message_id, target, cast(Notice, orjson.loads(notice)), epoch_ms(made_at), attempts, epoch_ms(next_at)
        )

    def tried_again(self, message: Message, outcome: Outcome, now_ms: int, next_ms: int) -> None:
        """See `NotificationStore`."""
        with self._writing() as ask:
            ask.rows(
                "UPDATE notification_messages SET attempts = ?, tried_at = ?, next_at = ?, answer = ? "
                "WHERE message_id = ?",
                *(message.attempts + 1, iso_ms(now_ms), iso_ms(next_ms), outcome.answer, message.message_id),
            )

    def settle(self, message: Message, outcome: Outcome, now_ms: int, *, delivered: bool) -> None:
        """See `NotificationStore`."""
        now = iso_ms(now_ms)
        state = "delivered" if delivered else "parked"
        with self._writing() as ask:
            ask.rows(
                "UPDATE notification_messages SET state = ?, attempts = ?, tried_at = ?, next_at = NULL, "
                "settled_at = ?, answer = ? WHERE message_id = ?",
                *(state, message.attempts + 1, now, now, outcome.answer, message.message_id),
            )
            ask.rows(
                "UPDATE deliveries SET state = ?, reason = ?, settled_at = ? WHERE message_id = ?",
                *(state, None if delivered else outcome.answer, now, message.message_id),
            )
            if delivered:
                _mark_told(ask, message, now)

    def counts(self) -> Mapping[str, TargetCounts]:
        """See `NotificationStore`."""
        with self._reading() as ask:
            names = [row[0] for row in ask.rows("SELECT target FROM notification_targets")]
            messages = ask.rows("SELECT target, state, count(*) FROM notification_messages GROUP BY target, state")
            waiting = ask.rows("SELECT target, count(*) FROM deliveries WHERE state = 'waiting' GROUP BY target")
        by_state = {(target, state): count for target, state, count in messages}
        waits = {target: count for target, count in waiting}  # noqa: C416  dict() does not see pairs in rows
        return {
            name: TargetCounts(
                by_state.get((name, "delivered"), 0), by_state.get((name, "parked"), 0), waits.get(name, 0)
            )
            for name in names
        }

    def clean(self, before_ms: int) -> None:
        """See `NotificationStore`."""
        before = iso_ms(before_ms)
        with self._writing() as ask:
            ask.rows("DELETE FROM notification_messages WHERE settled_at < ?", before)
            ask.rows("DELETE FROM deliveries WHERE settled_at < ?", before)
            ask.rows(  # the change itself is not kept much longer
                "UPDATE deliveries SET state = 'dropped', reason = 'held back for too long', settled_at = ? "
                "WHERE state = 'waiting' AND message_id IS NULL AND taken_at < ?",
                *(before, before),
            )


def _first_of(ask: Asking, now: str) -> int:
    """The first change that was made at a time or after it; the next there will be, where there is none."""
    (since,) = ask.rows("SELECT min(seq) FROM incident_changes WHERE made_at >= ?", now)
    (last,) = ask.rows("SELECT coalesce(max(seq), 0) FROM incident_changes")
    return int(since[0] or last[0] + 1)


def _is_told(change: IncidentChange) -> bool:
    return change["change"] in TOLD_CHANGES


def _next_seq(at: int, found: Sequence[tuple[int, str]], now_ms: int) -> int:
    """Where to read on. What is young is read again: one with a lower number may not be committed yet.

    The step is not the only one who writes changes, people resolve incidents too.
    """
    if len(found) == _CHANGES_AT_ONCE:
        return found[-1][0] + 1
    settled = iso_ms(now_ms - _SETTLED_MS)
    return max((seq + 1 for seq, made_at in found if made_at <= settled), default=at)


def _is_full(ask: Asking, target: str) -> bool:
    (row,) = ask.rows("SELECT count(*) FROM deliveries WHERE target = ? AND state = 'waiting'", target)
    return bool(row[0] >= MOST_WAITING)


def _forget(ask: Asking, target: str, now: str) -> None:
    ask.rows("DELETE FROM notification_targets WHERE target = ?", target)
    ask.rows("DELETE FROM notification_told WHERE target = ?", target)
    gone = "the target is not in the settings any more"
    ask.rows(
        "UPDATE notification_messages SET state = 'parked', settled_at = ?, answer = ? "
        "WHERE target = ? AND state = 'sending'",
        *(now, gone, target),
    )
    ask.rows(
        "UPDATE deliveries SET state = 'parked', settled_at = ?, reason = ? WHERE target = ? AND state = 'waiting'",
        *(now, gone, target),
    )


def _note(ask: Asking, target: str, seq: int, change: IncidentChange, now: str) -> None:
    incident = change["incident"]
    ask.rows(
        "INSERT INTO deliveries (target, change_id, seq, incident_id, change, severity, state, held, taken_at, "
        "not_before) VALUES (?, ?, ?, ?, ?, ?, 'waiting', 0, ?, ?) ON CONFLICT DO NOTHING",
        *(target, change["change_id"], seq, incident["incident_id"], change["change"], incident["severity"], now, now),
    )


def _mark_told(ask: Asking, message: Message, now: str) -> None:
    """What the target knows from now on: of each incident of the message, the last change decides."""
    notice = message.notice
    alone = set() if notice["digest"] else {line["incident"]["incident_id"] for line in notice["lines"]}
    rows = ask.rows("SELECT incident_id, change FROM deliveries WHERE message_id = ? ORDER BY seq", message.message_id)
    for incident_id, change in {row[0]: row[1] for row in rows}.items():
        ask.rows("DELETE FROM notification_told WHERE target = ? AND incident_id = ?", *(message.target, incident_id))
        if change != "resolved":
            ask.rows(
                "INSERT INTO notification_told VALUES (?, ?, ?, ?)",
                *(message.target, incident_id, int(incident_id not in alone), now),
            )


def _change(record: str) -> IncidentChange:
    """As the step wrote it; its own tests hold it to the schema."""
    return cast(IncidentChange, orjson.loads(record))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
        yield ids[start : start + _IDS_AT_ONCE]
