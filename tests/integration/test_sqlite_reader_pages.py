"""Pages: complete, without repeats, whatever is added between them; and found by an index alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest

from sinks.tables import pages
from sinks.tables.pages import NEWEST, CursorError, cursor_after, cursor_number
from sinks.tables.sqlite_search import Search, found_by
from tests.integration.read_rig import Plant, Sent, braze, nrs

CAMPAIGN = "c1"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def bounced(first: int, last: int) -> list[Sent]:
    return [braze(f"d{number}", "bounced", campaign_api_id=CAMPAIGN) for number in range(first, last)]


def walk(plant: Plant, *, limit: int, between: list[Sent], **asked: str) -> list[str | None]:
    """The dispatch ids of all pages, with new messages coming in after each."""
    found: list[str | None] = []
    cursor = None
    while True:
        page = plant.reader.messages(**asked, limit=limit, cursor=cursor)
        found += [message["dispatch_id"] for message in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found
        if between:
            plant.fold(between.pop())


@pytest.mark.parametrize(
    "asked", [{}, {"status": "bounced"}, {"outcome": "failed"}, {"q": CAMPAIGN}, {"campaign_id": CAMPAIGN}]
)
@pytest.mark.parametrize("limit", [1, 3, 4, 12, 13])
def test_pages_are_complete_while_messages_come_in(plant: Plant, asked: dict[str, str], limit: int) -> None:
    plant.fold(*bounced(0, 12))

    found = walk(plant, limit=limit, between=bounced(12, 24), **asked)

    assert found == [f"d{number}" for number in reversed(range(12))]


def test_the_last_page_has_no_cursor_even_when_it_is_full(plant: Plant) -> None:
    plant.fold(*bounced(0, 4))

    first = plant.reader.messages(limit=2)

    assert plant.reader.messages(limit=2, cursor=first.next_cursor).next_cursor is None


def test_a_page_ends_early_when_it_grows_too_large(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.fold(*(Sent(b"{" + b"x" * 3_000) for _ in range(4)))
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 11_000)  # two views of 4 KiB in base64 and what is around it

    first = plant.reader.dead(limit=1000)
    second = plant.reader.dead(limit=1000, cursor=first.next_cursor)

    assert (len(first.items), len(second.items), second.next_cursor) == (2, 2, None)
    assert len({letter["dead_id"] for letter in first.items + second.items}) == 4


def test_a_page_holds_one_item_however_large(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.fold(*(Sent(b"{" + b"x" * 3_000) for _ in range(2)))
    monkeypatch.setattr(pages, "MOST_PAGE_BYTES", 1)

    assert [len(plant.reader.dead(limit=1000).items), len(plant.reader.messages().items)] == [1, 0]


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "%", "é", "AAAA", "A" * 65, "bWVzc2FnZXM6MQ==", "\0", "\udcff"),
        *(cursor_after("dead", 1), cursor_after("messages", NEWEST + 1), cursor_after("messages", -1)),
    ],
)
def test_a_malformed_cursor_is_refused_by_name(plant: Plant, cursor: str) -> None:
    with pytest.raises(CursorError, match="no cursor of this list"):
        plant.reader.messages(cursor=cursor)


@pytest.mark.parametrize("number", [0, 1, 12345, NEWEST])
def test_a_cursor_comes_back_as_the_number_it_was_made_of(number: int) -> None:
    assert cursor_number("messages", cursor_after("messages", number)) == number


def searches() -> Iterator[Search]:
    """Every set of filters."""
    values = {"q": "x", "dispatch_id": "d1", "external_send_id": "e1", "source": "braze", "campaign_id": "c1"}
    values |= {"status": "bounced", "outcome": "failed"}
    for size in range(len(values) + 1):
        for names in combinations(values, size):
            yield Search(**{name: values[name] for name in names})


def test_no_search_scans_or_sorts(plant: Plant) -> None:
    plant.fold(*bounced(0, 3))
    db = sqlite3.connect(plant.paths.tables)

    plans = {}
    for search in searches():
        query = found_by(search, before=NEWEST, limit=10)
        assert query is not None
        steps = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values)]
        plans[search] = [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]
    db.close()

    assert len(plans) == 128
    assert {search: bad for search, bad in plans.items() if bad} == {}


@pytest.mark.parametrize(
    ("search", "index"),
    [
        (Search(source="braze", status="sent", dispatch_id="d1"), "messages_by_dispatch_id"),
        (Search(source="braze", status="sent", external_send_id="e1"), "messages_by_external_send_id"),
        (Search(source="braze", status="sent", campaign_id="c1"), "messages_by_campaign_id"),
        (Search(source="braze", status="sent"), "messages_by_status"),
        (Search(source="braze"), "messages_by_source"),
    ],
)
def test_a_search_is_led_by_its_rarest_name(plant: Plant, search: Search, index: str) -> None:
    plant.fold(*bounced(0, 1))
    query = found_by(search, before=NEWEST, limit=10)
    assert query is not None

    with closing(sqlite3.connect(plant.paths.tables)) as db:
        (step,) = db.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values).fetchall()

    assert f"INDEX {index} " in step[3]


def test_messages_of_several_equal_names_fill_pages_too(plant: Plant) -> None:
    plant.fold(*(nrs(f"id=7&channel=sms{number}&event=sent&contactId=7&campaignId=7") for number in range(3)))
    plant.fold(*(nrs(f"id=n{number}&channel=sms&event=sent&contactId=7&campaignId=7") for number in range(3)))

    assert walk(plant, limit=1, between=[], q="7") == ["n2", "n1", "n0", "7"]
    assert walk(plant, limit=2, between=[], q="7") == ["n2", "n1", "n0", "7"]


def test_open_dead_letters_are_listed_and_counted_by_their_index(plant: Plant) -> None:
    plant.fold(*bounced(0, 3))
    db = sqlite3.connect(plant.paths.tables)
    listing = "SELECT dead_id FROM dead_letters WHERE position < ? AND retried_at IS NULL ORDER BY position DESC"
    counting = "SELECT reason, count(*) FROM dead_letters WHERE retried_at IS NULL GROUP BY reason"

    plans = [db.execute(f"EXPLAIN QUERY PLAN {sql}", (9,) * sql.count("?")).fetchall() for sql in (listing, counting)]
    db.close()

    assert "INDEX dead_letters_open" in plans[0][0][3]
    assert "COVERING INDEX dead_letters_open" in plans[1][0][3]


def test_many_threads_read_at_once_while_the_tables_are_written(plant: Plant) -> None:
    plant.fold(*bounced(0, 50))

    with ThreadPoolExecutor(12) as pool:
        walks = [pool.submit(walk, plant, limit=7, between=[]) for _ in range(24)]
        for number in range(50, 60):
            plant.fold(*bounced(number, number + 1))

    oldest = [f"d{number}" for number in reversed(range(50))]
    assert [walk.result()[-50:] for walk in walks] == [oldest] * 24
