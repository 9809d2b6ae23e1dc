"""The rows of a report from both databases, against figures worked out by hand."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sinks.tables import report_queries
from sinks.tables.changes import Changes
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.report_queries import PostgresReport, SqliteReport
from sinks.tables.report_rows import (
    CampaignCount,
    CampaignLatency,
    ClassCount,
    DeadCount,
    Latency,
    Period,
    ReasonCount,
    ReportRows,
    Volume,
)
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.read_rig import braze
from tests.integration.test_analysis_views import MESSAGES, TEN
from tests.postgres.changes_rig import NOTHING, Stream

#: 10:10 to 10:32, beside 9:48 to 10:10; of the messages of the views' tests.
PERIOD = Period("2020-09-01T09:48:00.000Z", "2020-09-01T10:10:00.000Z", "2020-09-01T10:32:00.000Z")
_INCIDENT = (
    "INSERT INTO incidents (incident_id, rule, kind, severity, state, count, first_seen, last_seen, opened_at, title, "
    "advice, samples) VALUES ('{0}', 'r', 'count', '{1}', '{2}', 3, '{3}', '{3}', '{3}', 'a title', 'advice', '[]')"
)
_INCIDENTS = [("i1", "warning", "open"), ("i2", "critical", "open"), ("i3", "error", "resolved")]
_OLD = "DROP TABLE incident_samples; DROP TABLE incidents"


class Reported:
    """One database with these messages, two dead letters and three incidents."""

    def __init__(self, name: str, tmp_path: Path, url: str) -> None:
        self.is_sqlite = name == "sqlite"
        self._path, self._url = tmp_path / "tables.db", url

    def write(self) -> None:
        """Everything."""
        dead = Stream(3).fold(*(braze("d", "sent")._replace(body=body) for body in (b"{", b"[1]")))
        letters = [
            letter._replace(received_at=f"2020-09-01T{clock}:00.000Z")
            for letter, clock in zip(dead.batch.dead, ("10:20", "10:00"), strict=True)
        ]
        batch = NOTHING._replace(states={one["message_id"]: one for one in MESSAGES}, dead=letters)
        writer = SqliteSink(self._path) if self.is_sqlite else PostgresTables(self._url)
        writer.write_changes(Changes(batch, {}, {}))
        writer.close()
        for incident in _INCIDENTS:
            self.run(_INCIDENT.format(*incident, TEN))

    def run(self, script: str) -> None:
        """Some SQL."""
        if self.is_sqlite:
            with closing(sqlite3.connect(self._path)) as connection:
                connection.executescript(script)
        else:
            with psycopg.connect(self._url) as connection:
                connection.execute(script)

    def rows(self, period: Period = PERIOD) -> ReportRows:
        """What the report is made of."""
        with closing(SqliteReport(self._path) if self.is_sqlite else PostgresReport(self._url)) as tables:
            return tables.rows(period)


@pytest.fixture(params=["sqlite", "postgres"])
def reported(request: pytest.FixtureRequest, tmp_path: Path) -> Reported:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    return Reported(request.param, tmp_path, url)


@pytest.fixture
def rows(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> ReportRows:
    monkeypatch.setattr(report_queries, "FEWEST_DELIVERIES", 1)
    reported.write()
    return reported.rows()


def test_volumes_are_of_the_period_and_the_one_before_to_the_second(rows: ReportRows) -> None:
    found = {(one.is_now, one.source, one.status, one.messages, one.conflicts) for one in rows.volumes}

    assert found == {
        (True, "shop", "delivered", 1, 0),
        (True, "shop", "bounced", 2, 1),
        (False, "shop", "delivered", 2, 0),
        (False, "shop", "undelivered", 1, 0),
        (False, "shop", "rejected", 1, 0),
    }
    assert {one.hour for one in rows.volumes} == {TEN}
    assert type(rows.volumes[0]) is Volume


def test_failures_are_counted_by_class_and_by_text(rows: ReportRows) -> None:
    assert sorted(rows.classes) == [ClassCount("unclassified", 0, 2), ClassCount("unknown_user", 2, 0)]
    assert rows.reasons == [
        ReasonCount("unknown_user", "550 no", 2, 0, "m05"),
        ReasonCount("unclassified", None, 0, 2, "m09"),
    ]


def test_campaigns_with_failures_now_are_held_to_themselves_before(rows: ReportRows) -> None:
    assert rows.campaigns == [CampaignCount("shop", "spring", 3, 1, 2, 1, 0)]


def test_latency_leaves_out_what_goes_back_in_time(rows: ReportRows) -> None:
    assert rows.latency_now == pytest.approx((2, 6.25, 2.5 + 0.95 * 7.5, 2.5 + 0.99 * 7.5))
    assert rows.latency_before == Latency(1, 1.0, 1.0, 1.0)
    assert rows.slowest == [CampaignLatency("shop", "spring", rows.latency_now or Latency(0, 0, 0, 0))]


def test_open_incidents_come_worst_first(rows: ReportRows) -> None:
    assert [(one.incident_id, one.severity, one.counted, one.first_seen) for one in rows.incidents] == [
        ("i2", "critical", 3, TEN),
        ("i1", "warning", 3, TEN),
    ]


def test_dead_letters_are_those_received_now_and_before_and_those_still_open(rows: ReportRows) -> None:
    assert rows.dead == [DeadCount("invalid_json", 1, 0, 1), DeadCount("not_an_object", 0, 1, 1)]


def test_the_newest_message_is_known_also_where_the_period_has_none(reported: Reported) -> None:
    reported.write()
    rows = reported.rows(Period("2021-01-01T00:00:00.000Z", "2021-01-02T00:00:00.000Z", "2021-01-03T00:00:00.000Z"))

    assert rows.last_message == "2020-09-01T11:00:00.000Z"
    assert not any([rows.volumes, rows.reasons, rows.slowest])


def test_before_there_are_tables_there_is_nothing(reported: Reported) -> None:
    assert not any(reported.rows())


def test_tables_of_a_release_without_incidents_are_read(reported: Reported) -> None:
    reported.write()
    reported.run(f"{_OLD}; DROP INDEX messages_by_hour")

    assert reported.rows().incidents == []
    assert reported.rows().volumes


def test_in_sqlite_only_the_hours_of_the_period_are_read(tmp_path: Path) -> None:
    SqliteSink(tmp_path / "tables.db").close()
    plans = []
    with closing(sqlite3.connect(tmp_path / "tables.db")) as connection:

        def explain(query: str) -> list[report_queries.Row]:
            if "messages INDEXED" in query:
                plans.append(
                    str(connection.execute(f"EXPLAIN QUERY PLAN {query}", report_queries._values(PERIOD)).fetchall())
                )
            return []

        report_queries._rows(report_queries._SQLITE, explain, has_incidents=True)

    assert len(plans) == 6
    assert [plan for plan in plans if "SEARCH messages USING INDEX messages_by_hour" not in plan] == []
