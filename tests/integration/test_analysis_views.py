"""The views for analysts against figures worked out by hand: the same rows from Postgres and from SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Final, cast

import pytest

from schemas.records import Fact, StatusRecord
from schemas.statuses import OUTCOME
from schemas.times import iso_ms
from sinks.tables.changes import Changes
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.search import MESSAGE_STATUSES
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.read_rig import MIDNIGHT_MS
from tests.postgres.changes_rig import NOTHING
from tests.postgres.tables_rig import rows_of

Ask = Callable[[str], list[tuple[object, ...]]]

#: 2020-09-01 is the day of all of them.
TEN: Final = "2020-09-01T10:00:00.000Z"


def at(clock: str) -> str:
    """`10:30` or `10:30:00.250` of the day."""
    seconds = clock if clock.count(":") == 2 else f"{clock}:00"
    return f"2020-09-01T{seconds if '.' in seconds else f'{seconds}.000'}Z"


def message(number: int, status: str, received: str, **known: object) -> StatusRecord:
    """One state; `sent` and `delivered` are times of the day, the rest columns."""
    sent, delivered = known.pop("sent", None), known.pop("delivered", None)
    seen = str(known.pop("seen", received))
    fact: Fact = {
        "fact_id": f"f{number}",
        "status": status,
        "provider_status": status,
        "provider_time": None,
        "received_at": at(seen),
        "reason": None,
        "class": None,
        "effect": "current",
        "duplicates": 0,
    }
    state: dict[str, object] = dict.fromkeys(StatusRecord.__annotations__)
    state |= {
        "message_id": f"m{number:02}",
        "source": "shop",
        "provider": "braze",
        "channel": "email",
        "status": status,
    }
    state |= {"outcome": OUTCOME[status], "conflict": False, "overdue": False, "duplicates": 0, "version": 1}
    state |= {"first_received_at": at(received), "last_received_at": at(seen), "repeated_until": {}, "facts": [fact]}
    state |= {"sent_at": sent and at(str(sent)), "delivered_at": delivered and at(str(delivered))}
    return cast(StatusRecord, {**state, **known})


MESSAGES: Final = [
    # 10 to 11, campaign spring: six with an outcome, of which three delivered; the bounce of 4 came after its delivery
    message(1, "delivered", "10:00", campaign_id="spring", sent="10:00:00", delivered="10:00:01"),
    message(2, "delivered", "10:10", campaign_id="spring", sent="10:10:00", delivered="10:10:02.500"),
    message(3, "delivered", "10:59:59.999", campaign_id="spring", sent="10:20:00", delivered="10:20:02.500"),
    message(
        4,
        "bounced",
        "10:30",
        campaign_id="spring",
        conflict=True,
        sent="10:30:00",
        delivered="10:30:10",
        reason="550 no",
        bounce_class="unknown_user",
        seen="10:45",
    ),
    message(5, "bounced", "10:31", campaign_id="spring", reason="550 no", bounce_class="unknown_user", seen="10:40"),
    message(6, "aborted", "10:32", campaign_id="spring", reason="no address", bounce_class="abort_no_address"),
    message(7, "sent", "10:33", campaign_id="spring", sent="10:33:00", overdue=True),
    # of no campaign: two alike that failed, one without a word of why; one whose provider's clock went back
    message(8, "undelivered", "10:00", bounce_class="unclassified"),
    message(9, "rejected", "10:00", bounce_class="unclassified"),
    message(10, "delivered", "10:00", sent="10:31:00", delivered="10:00:00"),
    # of another hour, channel and source
    message(11, "deferred", "11:00", channel="sms", campaign_id="spring", sent="11:00"),
    message(12, "unknown", "11:00", source="other", provider="nrs360", channel=None, campaign_id="spring"),
]


@pytest.fixture(params=["sqlite", "postgres"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ask]:
    """Queries of an analyst on tables with these messages; times come as texts without a zone."""
    changes = Changes(NOTHING._replace(states={one["message_id"]: one for one in MESSAGES}), {}, {})
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        tables = PostgresTables(url)
        tables.write_changes(changes)
        tables.close()
        yield lambda query: rows_of(f"{url} options='-c timezone=America/New_York'", query)
        return
    sink = SqliteSink(tmp_path / "tables.db")
    sink.write_changes(changes)
    sink.close()
    connection = sqlite3.connect(tmp_path / "tables.db")
    yield lambda query: connection.execute(query).fetchall()
    connection.close()


def plain(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Times as texts of ours, whatever the database gives and in whatever zone; numbers to the millisecond."""
    return [tuple(_plain(value) for value in row) for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    if isinstance(value, date):
        return value.isoformat()
    return round(value, 6) if isinstance(value, float) else value


def test_an_hour_of_a_campaign_has_its_messages_by_what_became_of_them(ask: Ask) -> None:
    found = plain(
        ask(
            "SELECT hour, source, channel, campaign_id, messages, pending, delivered, failed, sent, deferred, unknown, "
            "undelivered, rejected, aborted, bounced, conflicts, overdue FROM campaign_hourly "
            "ORDER BY hour, source, channel, campaign_id"
        )
    )

    assert sorted(found, key=str) == sorted(
        [
            (TEN, "shop", "email", "spring", 7, 1, 3, 3, 1, 0, 0, 0, 0, 1, 2, 1, 1),
            (TEN, "shop", "email", None, 3, 0, 1, 2, 0, 0, 0, 1, 1, 0, 0, 0, 0),
            (at("11:00"), "shop", "sms", "spring", 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0),
            (at("11:00"), "other", None, "spring", 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0),
        ],
        key=str,
    )


def test_rates_are_of_those_with_an_outcome_and_null_where_none_has(ask: Ask) -> None:
    found = plain(ask("SELECT campaign_id, channel, delivery_rate, bounce_rate, abort_rate FROM campaign_hourly"))

    assert sorted(found, key=str) == sorted(
        [
            ("spring", "email", 0.5, round(2 / 6, 6), round(1 / 6, 6)),
            (None, "email", round(1 / 3, 6), 0.0, 0.0),
            ("spring", "sms", None, None, None),
            ("spring", None, None, None, None),
        ],
        key=str,
    )


def test_the_status_columns_add_up_for_every_status_a_message_can_have(ask: Ask) -> None:
    ((known,),) = ask("SELECT count(*) FROM messages")
    words = ", ".join(f"sum({word})" for word in MESSAGE_STATUSES)

    ((*counts, every),) = ask(f"SELECT {words}, sum(messages) FROM campaign_hourly")  # noqa: S608  words of ours

    assert sum(int(str(count)) for count in counts) == int(str(every)) == known == len(MESSAGES)


def test_latency_is_interpolated_between_neighbours_ties_and_all(ask: Ask) -> None:
    found = plain(ask("SELECT * FROM delivery_latency WHERE campaign_id = 'spring'"))

    # 1, 2.5, 2.5 and 10 seconds: places 1.5, 2.85 and 2.97 of 0 to 3
    assert found == [
        ("2020-09-01", "shop", "braze", "spring", 4, 0, 2.5, round(2.5 + 0.85 * 7.5, 6), round(2.5 + 0.97 * 7.5, 6))
    ]


def test_a_time_before_the_sending_is_counted_and_kept_out(ask: Ask) -> None:
    found = plain(ask("SELECT * FROM delivery_latency WHERE campaign_id IS NULL"))

    assert found == [("2020-09-01", "shop", "braze", None, 0, 1, None, None, None)]


def test_what_has_only_one_of_the_times_is_no_latency(ask: Ask) -> None:
    assert ask("SELECT sum(messages) + sum(negative) FROM delivery_latency") == [(5,)]


def test_reasons_are_told_apart_by_class_text_and_campaign(ask: Ask) -> None:
    found = plain(
        ask(
            "SELECT campaign_id, bounce_class, reason, messages, first_seen, last_seen, example_message_id "
            "FROM failure_reasons"
        )
    )

    assert sorted(found, key=str) == sorted(
        [
            ("spring", "unknown_user", "550 no", 2, at("10:40"), at("10:45"), "m05"),
            ("spring", "abort_no_address", "no address", 1, at("10:32"), at("10:32"), "m06"),
            (None, "unclassified", None, 2, at("10:00"), at("10:00"), "m09"),
        ],
        key=str,
    )


def test_reasons_count_every_failed_message_once(ask: Ask) -> None:
    assert ask("SELECT sum(messages) FROM failure_reasons") == ask("SELECT sum(failed) FROM campaign_hourly") == [(5,)]


def test_open_messages_are_those_that_wait_for_an_outcome(ask: Ask) -> None:
    found = ask("SELECT message_id, status FROM open_messages ORDER BY message_id")

    assert found == [("m07", "sent"), ("m11", "deferred"), ("m12", "unknown")]
    assert ask("SELECT count(*) FROM messages WHERE outcome = 'pending'") == [(len(found),)]


def test_their_age_is_that_of_the_last_news(ask: Ask) -> None:
    ages = {str(name): float(str(age)) for name, age in ask("SELECT message_id, age_seconds FROM open_messages")}

    assert round(ages["m07"] - ages["m11"]) == 27 * 60
    assert ages["m11"] > 0


def test_an_hour_is_found_in_postgres_without_reading_all_messages(postgres_url: str) -> None:
    PostgresTables(postgres_url).close()

    plan = rows_of(
        f"{postgres_url} options='-c enable_seqscan=off'",
        "EXPLAIN SELECT * FROM campaign_hourly WHERE hour >= '2020-09-01 10:00:00+00'",
    )

    assert "messages_by_hour" in str(plan)


def test_an_hour_is_found_in_sqlite_without_reading_all_messages(tmp_path: Path) -> None:
    SqliteSink(tmp_path / "tables.db").close()
    with closing(sqlite3.connect(tmp_path / "tables.db")) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM campaign_hourly WHERE hour >= ?", (TEN,)).fetchall()

    assert "SEARCH messages USING INDEX messages_by_hour" in str(plan)


def many(random: Random) -> Iterator[StatusRecord]:
    """Some hundred messages of few campaigns, with times that repeat, miss and go back."""
    for number in range(400):
        sent, took = random.randrange(80_000_000), random.choice([None, 0, 1, *range(-3_000, 30_000, 777)])
        status, campaign = random.choice(MESSAGE_STATUSES), random.choice([None, "spring", "summer"])
        state = message(number, status, f"{number % 24:02}:00", campaign_id=campaign)
        state["sent_at"] = iso_ms(MIDNIGHT_MS + sent)
        state["delivered_at"] = None if took is None else iso_ms(MIDNIGHT_MS + sent + took)
        yield state


def test_both_databases_say_the_same_of_many(tmp_path: Path, postgres_url: str) -> None:
    states = {one["message_id"]: one for one in many(Random(7))}
    changes = Changes(NOTHING._replace(states=states), {}, {})
    sink, tables = SqliteSink(tmp_path / "tables.db"), PostgresTables(postgres_url)
    for writer in (sink, tables):
        writer.write_changes(changes)
        writer.close()
    with closing(sqlite3.connect(tmp_path / "tables.db")) as connection:
        for view in ("campaign_hourly", "delivery_latency", "failure_reasons"):
            query = f"SELECT * FROM {view}"  # noqa: S608  names of ours
            ours, theirs = connection.execute(query).fetchall(), rows_of(postgres_url, query)

            assert sorted(plain(ours), key=str) == sorted(plain(theirs), key=str)
            assert len(ours) > 1
