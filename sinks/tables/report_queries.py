"""The queries of a report, for both databases: read only, of one moment, each led by the index on the hour.

Only the tables are asked, no view, because a period need not begin with an hour. What is made of the rows
is `sendtrace.report`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from schemas.statuses import FAILURE_WORDS
from schemas.times import hour_of
from sinks.tables.report_rows import (
    CampaignCount,
    CampaignLatency,
    ClassCount,
    DeadCount,
    Latency,
    OpenIncident,
    Period,
    ReasonCount,
    ReportRows,
    Volume,
)
from sinks.tables.sqlite_snapshots import Snapshots as SqliteSnapshots

if TYPE_CHECKING:
    from sinks.tables.postgres_connect import Connection

#: Of texts that differ in ids and addresses only, a report makes one; more than so many say nothing more.
MOST_REASONS: Final = 2_000
MOST_CAMPAIGNS: Final = 200
MOST_INCIDENTS: Final = 50
#: A campaign of fewer deliveries is in no list of slow ones: one late message would lead it.
FEWEST_DELIVERIES: Final = 10

_FAILED: Final = ", ".join(f"'{word}'" for word in sorted(FAILURE_WORDS))
_NOW: Final = "first_received_at >= :since"
_RANGE: Final = "{hour} >= :first_hour AND first_received_at >= :before AND first_received_at < :until"

_VOLUMES: Final = (
    f"SELECT {_NOW}, {{hour}}, source, provider, channel, status, count(*), count(*) FILTER (WHERE conflict), "  # noqa: S608  ours
    f"count(*) FILTER (WHERE overdue) FROM {{messages}} WHERE {_RANGE} GROUP BY 1, 2, 3, 4, 5, 6"
)
_CLASSES: Final = (
    f"SELECT bounce_class, count(*) FILTER (WHERE {_NOW}), count(*) FILTER (WHERE NOT {_NOW}) "  # noqa: S608  ours
    f"FROM {{messages}} WHERE {_RANGE} AND status IN ({_FAILED}) GROUP BY 1"
)
_REASONS: Final = (
    "SELECT found.bounce_class, found.reason, found.now, found.before, newest.message_id FROM ("  # noqa: S608  ours
    f"SELECT bounce_class, reason, count(*) FILTER (WHERE {_NOW}) AS now, "
    f"count(*) FILTER (WHERE NOT {_NOW}) AS before, max(seq) AS seq "
    f"FROM {{messages}} WHERE {_RANGE} AND status IN ({_FAILED}) GROUP BY 1, 2 "
    "ORDER BY 3 DESC, 4 DESC, 5 LIMIT :most_reasons) AS found JOIN messages AS newest ON newest.seq = found.seq"
)
_CAMPAIGNS: Final = (
    f"SELECT source, campaign_id, count(*) FILTER (WHERE {_NOW}), "  # noqa: S608  ours
    + ", ".join(
        f"count(*) FILTER (WHERE {when} AND outcome = '{outcome}')"
        for when in (_NOW, f"NOT {_NOW}")
        for outcome in ("delivered", "failed")
    )
    + f" FROM {{messages}} WHERE {_RANGE} GROUP BY 1, 2 "
    f"HAVING count(*) FILTER (WHERE {_NOW} AND outcome = 'failed') > 0 ORDER BY 5 DESC, 3, 1, 2 LIMIT :most_campaigns"
)
_INCIDENTS: Final = (
    "SELECT incident_id, severity, title, advice, count, total, first_seen, last_seen, acknowledged_at, silenced_until "
    "FROM incidents WHERE state = 'open' "
    "ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'error' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END, "
    "last_seen DESC LIMIT :most_incidents"
)
_DEAD: Final = (
    "SELECT reason, count(*) FILTER (WHERE received_at >= :since), count(*) FILTER (WHERE received_at < :since) "
    "FROM dead_letters WHERE received_at >= :before AND received_at < :until GROUP BY 1"
)
_OPEN_DEAD: Final = "SELECT reason, count(*) FROM dead_letters WHERE retried_at IS NULL GROUP BY 1"
_LAST: Final = "SELECT first_received_at FROM messages ORDER BY seq DESC LIMIT 1"

_SQLITE_HOUR: Final = "substr(first_received_at, 1, 13) || ':00:00.000Z'"
_SQLITE_SECONDS: Final = (
    "((strftime('%s', delivered_at) - strftime('%s', sent_at)) * 1000 "
    "+ substr(delivered_at, 21, 3) - substr(sent_at, 21, 3)) / 1000.0"
)
_POSTGRES_HOUR: Final = "date_bin('1 hour', first_received_at, timestamptz '2000-01-01 00:00:00+00')"
_POSTGRES_SECONDS: Final = "extract(epoch FROM delivered_at - sent_at)::double precision"
_LONGEST_REPORT: Final = "SET LOCAL statement_timeout = '15min'"

Row = tuple[Any, ...]  # whatever the driver hands out
Ask = Callable[[str], list[Row]]


class _Dialect(NamedTuple):
    """What one database says otherwise."""

    hour: str
    seconds: str
    messages: str
    #: Keys and the name of a query of (keys, seconds) → one of (keys, count, p50, p95, p99).
    percentiles: Callable[[str, str], str]


def _in_sqlite(keys: str, measured: str) -> str:
    """See the view `delivery_latency` for how."""
    ends = ", ".join(
        f"max(iif(place = CAST({p} * last AS INTEGER), seconds, NULL)) AS low_{n}, "
        f"max(iif(place = min(CAST({p} * last AS INTEGER) + 1, last), seconds, NULL)) AS high_{n}"
        for n, p in enumerate((0.5, 0.95, 0.99))
    )
    values = ", ".join(
        f"low_{n} + ({p} * last - CAST({p} * last AS INTEGER)) * (high_{n} - low_{n})"
        for n, p in enumerate((0.5, 0.95, 0.99))
    )
    return (
        f"SELECT {keys}, last + 1, {values} FROM (SELECT {keys}, max(last) AS last, {ends} FROM ("  # noqa: S608  ours
        f"SELECT *, row_number() OVER alike - 1 AS place, count(*) OVER (PARTITION BY {keys}) - 1 AS last "
        f"FROM ({measured}) WINDOW alike AS (PARTITION BY {keys} ORDER BY seconds)) GROUP BY {keys})"
    )


def _in_postgres(keys: str, measured: str) -> str:
    values = ", ".join(f"percentile_cont({p}) WITHIN GROUP (ORDER BY seconds)" for p in (0.5, 0.95, 0.99))
    return f"SELECT {keys}, count(*), {values} FROM ({measured}) AS measured GROUP BY {keys}"  # noqa: S608  ours


#: Left alone, SQLite would rather read all messages in the order of a group's columns.
_SQLITE: Final = _Dialect(_SQLITE_HOUR, _SQLITE_SECONDS, "messages INDEXED BY messages_by_hour", _in_sqlite)
_POSTGRES: Final = _Dialect(_POSTGRES_HOUR, _POSTGRES_SECONDS, "messages", _in_postgres)


class SqliteReport:
    """`ReportTables` of a SQLite file; without one, or without tables in it, every list is empty."""

    def __init__(self, path: Path) -> None:
        self._snapshots = SqliteSnapshots(path)

    def close(self) -> None:
        """Give the file back."""
        self._snapshots.close()

    def rows(self, period: Period) -> ReportRows:
        """Raises `sqlite3.Error`."""
        values = _values(period)
        with self._snapshots.take() as db:
            if db is None:
                return _NOTHING

            def ask(query: str) -> list[Row]:
                return db.execute(query, values).fetchall()

            names = "SELECT name FROM sqlite_master WHERE name IN ('incidents', 'messages_by_hour')"
            there = {name for (name,) in ask(names)}  # not in a file that no newer release has written yet
            dialect = _SQLITE if "messages_by_hour" in there else _SQLITE._replace(messages="messages")
            return _rows(dialect, ask, has_incidents="incidents" in there)


class PostgresReport:
    """`ReportTables` of the Postgres at `url`; before there are tables every list is empty."""

    def __init__(self, url: str) -> None:
        from sinks.tables.postgres_snapshots import Snapshots  # noqa: PLC0415  psycopg, for those who have a Postgres

        self._snapshots = Snapshots(url)

    def close(self) -> None:
        """Hang up."""
        self._snapshots.close()

    def rows(self, period: Period) -> ReportRows:
        """Raises `TablesError`."""
        values = _values(period)
        taken: AbstractContextManager[Connection | None] = self._snapshots.take()
        with taken as db:
            if db is None:
                return _NOTHING
            db.execute(_LONGEST_REPORT)

            def ask(query: str) -> list[Row]:
                # `:name`, and not the `::type` of a cast; a sign of per cent would begin a placeholder
                named = re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", query.replace("%", "%%"))
                return db.execute(named, values).fetchall()

            has_incidents = ask("SELECT to_regclass('incidents') IS NOT NULL") == [(True,)]
            return _rows(_POSTGRES, ask, has_incidents=has_incidents)


def _values(period: Period) -> Mapping[str, str | int]:
    limits = {"most_reasons": MOST_REASONS, "most_campaigns": MOST_CAMPAIGNS, "most_incidents": MOST_INCIDENTS}
    return {**period._asdict(), "first_hour": hour_of(period.before), **limits}


def _rows(dialect: _Dialect, ask: Ask, *, has_incidents: bool) -> ReportRows:
    def of(query: str) -> list[Row]:
        return ask(query.replace("{hour}", dialect.hour).replace("{messages}", dialect.messages))

    measured = (
        f"SELECT {_NOW} AS is_now, source, campaign_id, {dialect.seconds} AS seconds FROM {dialect.messages} "  # noqa: S608  ours
        f"WHERE {_RANGE} AND delivered_at >= sent_at"
    )
    every = {bool(is_now): Latency(*rest) for is_now, *rest in of(dialect.percentiles("is_now", measured))}
    by_campaign = of(dialect.percentiles("source, campaign_id", f"{measured} AND {_NOW}"))
    slowest = [CampaignLatency(source, name, Latency(*rest)) for source, name, *rest in by_campaign]
    return ReportRows(
        volumes=[Volume(bool(is_now), *rest) for is_now, *rest in of(_VOLUMES)],
        classes=[ClassCount(*row) for row in of(_CLASSES)],
        reasons=[ReasonCount(*row) for row in of(_REASONS)],
        campaigns=[CampaignCount(*row) for row in of(_CAMPAIGNS)],
        latency_now=every.get(True),
        latency_before=every.get(False),
        slowest=sorted(
            (one for one in slowest if one.latency.messages >= FEWEST_DELIVERIES),
            key=lambda one: (-one.latency.p95, one.source, one.campaign_id or ""),
        )[:MOST_CAMPAIGNS],
        incidents=[OpenIncident(*row) for row in ask(_INCIDENTS)] if has_incidents else [],
        dead=_dead(ask),
        last_message=next((str(row[0]) for row in ask(_LAST)), None),
    )


def _dead(ask: Ask) -> list[DeadCount]:
    received = {reason: (now, before) for reason, now, before in ask(_DEAD)}
    still = {reason: count for reason, count in ask(_OPEN_DEAD)}  # noqa: C416  dict() does not see pairs in rows
    return [
        DeadCount(reason, *received.get(reason, (0, 0)), still.get(reason, 0)) for reason in sorted(received | still)
    ]


_NOTHING: Final = ReportRows([], [], [], [], None, None, [], [], [], None)
