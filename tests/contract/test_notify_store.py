"""What notifications keep, in both databases, held to one contract; and what the engine decides on it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from schemas.incidents import IncidentChange
from schemas.times import iso_ms
from sendtrace.clock import SystemClock
from sinks.notifications.engine import Target, decide
from sinks.notifications.planning import Shape
from sinks.notifications.postgres_store import PostgresNotifications
from sinks.notifications.records import Message, Outcome, Waiting
from sinks.notifications.routing import Labels, is_for
from sinks.notifications.sql_store import SqlStore
from sinks.notifications.sqlite_store import SqliteNotifications
from sinks.notifications.store import TargetCounts
from sinks.notifications.targets import alertmanager, pagerduty, webhook
from sinks.notifications.throttle import GROUP_WAIT_MS, REFRESH_MS
from sinks.tables.asking import Asking, asking_postgres, asking_sqlite
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_writer import SqliteTables
from sinks.tables.trouble import TablesError
from tests.integration.notify_tables_rig import put_change
from tests.unit.notify_rig import NOW_MS, change

Put = Callable[..., None]
TAKEN = Outcome("delivered", "200 ok")
LATER_MS = NOW_MS + GROUP_WAIT_MS


class Tables:
    """One database: its store, and the hand of whoever writes incidents into it."""

    def __init__(self, ask: Asking, open_store: Callable[[], SqlStore]) -> None:
        self.ask = ask
        self.open_store = open_store
        self.store = open_store()

    def put(self, *changes: IncidentChange, made_ms: int = NOW_MS) -> None:
        for each in changes:
            put_change(self.ask, each, made_ms=made_ms)

    def take_in(self, target: str = "ops", labels: Labels | None = None, now_ms: int = NOW_MS) -> int:
        return self.store.take_in(target, lambda each: is_for(labels or Labels(), each), now_ms)

    def states(self) -> list[tuple[str, str, str | None]]:
        rows = self.ask.rows("SELECT change_id, state, reason FROM deliveries ORDER BY seq")
        return [(change_id, state, reason) for change_id, state, reason in rows]


@pytest.fixture(params=["sqlite", "postgres"])
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tables]:
    if request.param == "sqlite":
        path = tmp_path / "tables.db"
        SqliteTables(path).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            made = Tables(asking_sqlite(db), lambda: SqliteNotifications(path))
            yield made
            made.store.close()
        return
    url: str = request.getfixturevalue("postgres_url")
    PostgresTables(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        made = Tables(asking_postgres(connection), lambda: PostgresNotifications(url))
        yield made
        made.store.close()


def target(shape: Shape = webhook.SHAPE, name: str = "ops") -> Target:
    class Silent:
        async def send(self, message: Message, now_ms: int) -> Outcome:
            raise AssertionError(f"{message} at {now_ms}: nothing is sent here")

        @property
        def shape(self) -> Shape:
            return shape

    return Target(name, Labels(), Silent())


def names(message: Message | None) -> Sequence[str]:
    return [] if message is None else [line["word"] for line in message.notice["lines"]]


def test_a_new_target_is_told_of_nothing_that_was_before_it(tables: Tables) -> None:
    tables.put(change("opened"), made_ms=NOW_MS - 1)
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened", "i2"))

    assert tables.take_in() == 1
    assert tables.states() == [("i2-opened-0", "waiting", None)]


def test_what_was_made_while_it_started_is_told(tables: Tables) -> None:
    tables.put(change("opened"), made_ms=NOW_MS - 1)
    tables.put(change("opened", "i2"), made_ms=NOW_MS)
    tables.store.begin(["ops"], NOW_MS)

    assert tables.take_in() == 1


def test_a_target_goes_on_where_it_was(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    tables.store.begin(["ops"], NOW_MS)

    assert tables.take_in() == 0
    assert tables.store.waiting("ops", NOW_MS) == Waiting(1, NOW_MS, "error")


def test_only_what_it_is_for_is_noted(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened", severity="info"), change("updated"), change("resolved", severity="info"))
    tables.take_in(labels=Labels("error"))

    assert tables.states() == [("i1-resolved-0", "waiting", None)]
    assert tables.store.waiting("ops", NOW_MS).worst is None


def test_a_target_that_is_gone_is_forgotten_with_what_waits_for_it(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    tables.store.begin(["other"], NOW_MS + 1)
    tables.store.begin(["ops", "other"], NOW_MS + 1)

    assert tables.states() == [("i1-opened-0", "parked", "the target is not in the settings any more")]
    assert tables.take_in() == 0


def test_a_message_is_written_down_before_it_is_sent_and_keeps_its_id(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()

    assert decide(target(), tables.store, NOW_MS + 1_000) is None  # it waits for others
    made = decide(target(), tables.store, LATER_MS)
    tables.store.close()
    tables.store = tables.open_store()

    assert made is not None
    assert tables.store.in_hand("ops") == made
    assert decide(target(), tables.store, LATER_MS) is None


def test_what_was_delivered_is_told_and_never_again(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    made = decide(target(), tables.store, LATER_MS)
    assert made is not None
    tables.store.settle(made, TAKEN, LATER_MS, delivered=True)

    assert tables.store.in_hand("ops") is None
    assert tables.store.told("ops") == {"i1": False}
    assert tables.store.tried("ops", NOW_MS) == [LATER_MS]
    assert tables.states() == [("i1-opened-0", "delivered", None)]
    assert tables.store.counts() == {"ops": TargetCounts(1, 0, 0)}
    tables.put(change("resolved"))
    tables.take_in()
    over = decide(target(), tables.store, LATER_MS + 60_000)
    assert over is not None
    tables.store.settle(over, TAKEN, LATER_MS, delivered=True)
    assert names(over) == ["resolved"]
    assert tables.store.told("ops") == {}


def test_what_is_parked_has_its_reason_and_told_nobody(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    made = decide(target(), tables.store, LATER_MS)
    assert made is not None
    tables.store.tried_again(made, Outcome("again", "503"), LATER_MS, LATER_MS + 5_000)
    again = tables.store.in_hand("ops")
    assert again is not None
    assert (again.message_id, again.attempts, again.next_ms) == (made.message_id, 1, LATER_MS + 5_000)
    tables.store.settle(again, Outcome("refused", "404 no such hook"), LATER_MS, delivered=False)

    assert tables.states() == [("i1-opened-0", "parked", "404 no such hook")]
    assert tables.store.told("ops") == {}
    assert tables.store.counts() == {"ops": TargetCounts(0, 1, 0)}
    assert tables.ask.rows("SELECT state, attempts, answer FROM notification_messages") == [
        ("parked", 2, "404 no such hook")
    ]


def test_after_an_outage_what_came_and_went_is_one_line(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"), change("escalated"), change("resolved"), change("opened", "i2"))
    tables.take_in()

    assert names(decide(target(), tables.store, LATER_MS)) == ["opened", "passed"]


def test_a_silence_holds_back_until_it_ends(tables: Tables) -> None:
    until = iso_ms(NOW_MS + 90_000)
    silence = "INSERT INTO silences (label, value, until, made_at) VALUES ('campaign_id', 'c1', ?, ?)"
    tables.ask.rows(silence, until, iso_ms(NOW_MS))
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()

    assert decide(target(), tables.store, LATER_MS) is None
    assert tables.store.waiting("ops", LATER_MS).changes == 0
    assert tables.states() == [("i1-opened-0", "waiting", None)]
    assert names(decide(target(), tables.store, NOW_MS + 100_000)) == ["opened"]


def test_silenced_and_over_is_dropped(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened", silenced_until=iso_ms(NOW_MS + 90_000)))
    tables.take_in()
    decide(target(), tables.store, LATER_MS)
    tables.put(change("resolved"))
    tables.take_in()

    assert decide(target(), tables.store, NOW_MS + 100_000) is None
    assert {reason for _, _, reason in tables.states()} == {"silenced"}


def test_alertmanager_is_told_again_of_what_fires(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    made = decide(target(alertmanager.SHAPE), tables.store, LATER_MS)
    assert made is not None
    tables.store.settle(made, TAKEN, LATER_MS, delivered=True)

    assert decide(target(alertmanager.SHAPE), tables.store, LATER_MS + REFRESH_MS - 1) is None
    again = decide(target(alertmanager.SHAPE), tables.store, LATER_MS + REFRESH_MS)
    assert again is not None
    assert [each["incident_id"] for each in again.notice["firing"]] == ["i1"]


def test_what_was_only_counted_is_known_as_that(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(*(change("opened", f"i{number}") for number in range(9)))
    tables.take_in()
    for _ in range(7):
        made = decide(target(pagerduty.SHAPE), tables.store, NOW_MS + 30_000)
        assert made is not None
        tables.store.settle(made, TAKEN, NOW_MS + 30_000, delivered=True)

    assert decide(target(pagerduty.SHAPE), tables.store, NOW_MS + 60_000) is None
    assert sorted(tables.store.told("ops").values()) == [False] * 6 + [True] * 3


def test_what_was_settled_long_ago_is_deleted(tables: Tables) -> None:
    tables.store.begin(["ops"], NOW_MS)
    tables.put(change("opened"))
    tables.take_in()
    made = decide(target(), tables.store, LATER_MS)
    assert made is not None
    tables.store.settle(made, TAKEN, LATER_MS, delivered=True)
    tables.take_in(now_ms=NOW_MS + 60_000)
    tables.store.clean(LATER_MS + 1)

    assert tables.states() == []
    assert tables.take_in() == 0


def test_a_change_that_is_committed_after_a_later_one_is_told_too(postgres_url: str) -> None:
    PostgresTables(postgres_url).close()
    with psycopg.connect(postgres_url, autocommit=True) as one, psycopg.connect(postgres_url) as slow:
        tables = Tables(asking_postgres(one), lambda: PostgresNotifications(postgres_url))
        tables.store.begin(["ops"], NOW_MS)
        put_change(asking_postgres(slow), change("opened", "slow"), made_ms=NOW_MS)
        tables.put(change("opened", "quick"))
        before = tables.take_in()
        slow.commit()

        assert (before, tables.take_in(), tables.take_in(now_ms=NOW_MS + 60_000)) == (1, 1, 0)
        tables.store.close()


def test_a_writer_that_hardly_pauses_holds_up_sqlite_for_seconds_at_most(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    SqliteTables(path).close()
    busy = threading.Event()
    enough = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
            while not enough.is_set():
                db.execute("BEGIN IMMEDIATE")
                busy.set()
                enough.wait(0.2)
                db.execute("COMMIT")
                enough.wait(0.002)  # so long as the processor takes between two batches

    writer = threading.Thread(target=write)
    writer.start()
    busy.wait(10)
    with closing(SqliteNotifications(path)) as store:
        began_s = SystemClock().monotonic_s()
        for number in range(3):
            store.begin([f"ops{number}"], NOW_MS)
        took_s = SystemClock().monotonic_s() - began_s
        enough.set()
        writer.join()

    assert took_s < 20  # waiting as SQLite does it takes a minute


def test_one_process_tells_of_one_postgres(postgres_url: str) -> None:
    PostgresTables(postgres_url).close()
    with closing(PostgresNotifications(postgres_url)), pytest.raises(TablesError, match="another process tells"):
        PostgresNotifications(postgres_url)


def test_tables_that_are_not_made_yet_are_told(tmp_path: Path, postgres_url: str) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    for opening in (
        lambda: SqliteNotifications(tmp_path / "none.db"),
        lambda: SqliteNotifications(tmp_path / "empty.db"),
        lambda: PostgresNotifications(postgres_url),
    ):
        with pytest.raises(TablesError, match="the tables are not made yet"):
            opening()
