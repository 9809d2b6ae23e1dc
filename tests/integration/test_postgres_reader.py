"""The reader of the Postgres tables gives what the reader of the SQLite tables gives for the same changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import pytest

from schemas.codec import check
from schemas.records import DeadLetterView, MessageDetail, MessageStatus, Transition
from sinks.tables import postgres_reader, sqlite_reader
from sinks.tables.pages import CursorError, Page
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.tables_reader import TablesReader, Tail
from sinks.tables.trouble import TablesError
from tests.integration.read_rig import Sent, braze, documented, nrs
from tests.postgres.changes_rig import Stream
from tests.postgres.local_postgres import LocalPostgres
from tests.postgres.tables_rig import Both, both, reader, tables

__all__ = ["both", "reader", "tables"]

FACT_FIELDS: Final = (
    *("fact_id", "status", "provider_status", "provider_time", "received_at", "reason", "class", "effect"),
    "duplicates",
)
Ask = Callable[[TablesReader], object]

MESSAGES: Final = (
    braze("d1", "sent", external_send_id="order-1", campaign_api_id="c1"),
    braze("d2", "bounced", external_send_id="order-2", campaign_api_id="c2", reason="550 5.1.1 nö"),
    braze("d3", "aborted", external_send_id="order-2", campaign_api_id="c1"),
    nrs("id=n1&channel=mailing&event=hard_bounced&contactId=77&campaignId=9"),
    nrs("id=n2&channel=landing&event=form_submitted&contactId=77&campaignId=9&formId=5"),
    braze("77", "sent"),
    braze("d1", "delivered"),
    braze("d1", "delivered"),
    Sent(b"{\xff\x00no json"),
    Sent(b"[]"),
    nrs("id=x1&channel=sms"),
)


def no_body(_: int) -> None:
    return None


def pages(reader: TablesReader) -> list[list[str]]:
    """Every page of two, by cursors."""
    found, cursor = [], None
    while True:
        page = reader.messages(limit=2, cursor=cursor)
        found.append([message["message_id"] for message in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return found


def dead_pages(reader: TablesReader) -> list[list[str]]:
    found, cursor = [], None
    while True:
        page = reader.dead(limit=1, cursor=cursor)
        found.append([letter["dead_id"] for letter in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return found


ASKS: Final[dict[str, Ask]] = {
    "all": lambda reader: reader.messages(limit=1000),
    "q of a contact": lambda reader: reader.messages(q="77"),
    "q of a campaign": lambda reader: reader.messages(q="9"),
    "q and source": lambda reader: reader.messages(q="77", source="braze"),
    "q and outcome": lambda reader: reader.messages(q="77", outcome="failed"),
    "q and no such status": lambda reader: reader.messages(q="77", status="none"),
    "q of a part": lambda reader: reader.messages(q="order"),
    "q of nothing": lambda reader: reader.messages(q=""),
    "dispatch": lambda reader: reader.messages(dispatch_id="d1"),
    "send": lambda reader: reader.messages(external_send_id="order-2"),
    "send and dispatch": lambda reader: reader.messages(external_send_id="order-2", dispatch_id="d3"),
    "source": lambda reader: reader.messages(source="nrs"),
    "no such source": lambda reader: reader.messages(source="none"),
    "status": lambda reader: reader.messages(status="bounced"),
    "status and source": lambda reader: reader.messages(status="bounced", source="braze"),
    "no such status": lambda reader: reader.messages(status="none"),
    "outcome": lambda reader: reader.messages(outcome="failed"),
    "outcome and status": lambda reader: reader.messages(outcome="delivered", status="aborted"),
    "campaign": lambda reader: reader.messages(campaign_id="c1"),
    "campaign and outcome": lambda reader: reader.messages(campaign_id="c1", outcome="failed"),
    "no UTF-8": lambda reader: reader.messages(source="\udcff"),
    "a NUL": lambda reader: (reader.messages(q="d\0"), reader.find("d\0"), reader.message("\0", body_at=no_body)),
    "find": lambda reader: (reader.find("77"), reader.find("77", limit=1), reader.find("d1"), reader.find("\udcff")),
    "dead": lambda reader: reader.dead(),
    "dead by reason": lambda reader: reader.dead(reason="invalid_json"),
    "dead by source": lambda reader: reader.dead(source="nrs", open_only=True),
    "dead without UTF-8": lambda reader: (reader.dead(reason="\udcff"), reader.dead(source="\0")),
    "dead one": lambda reader: [reader.dead_one(letter["dead_id"]) for letter in reader.dead().items],
    "no dead one": lambda reader: (reader.dead_one("none"), reader.dead_one("\0"), reader.dead_one("\udcff")),
    "dead postbacks": lambda reader: [
        reader.dead_postback(dead_id)
        for dead_id in (*(one["dead_id"] for one in reader.dead().items), "none", "\udcff")
    ],
    "last transition": lambda reader: reader.last_transition(),
    "tail": lambda reader: reader.transitions_after(0),
    "tail of three": lambda reader: reader.transitions_after(2, limit=3),
    "tail with a filter": lambda reader: reader.transitions_after(0, status="bounced", source="braze"),
    "tail of nobody": lambda reader: reader.transitions_after(0, source="none", limit=1),
    "tail of the future": lambda reader: reader.transitions_after(2**62),
    "tail without UTF-8": lambda reader: reader.transitions_after(3, status="\udcff"),
    "counts": lambda reader: reader.counts_by_status(),
    "reasons": lambda reader: (reader.latest_reasons(), reader.latest_reasons(most=1)),
    "progress": lambda reader: reader.progress(),
    "audit": lambda reader: reader.audit_rows(),
    "handled": lambda reader: reader.handled(),
    "timelines": lambda reader: [
        reader.message(message["message_id"], body_at=lambda position: b"%d" % position)
        for message in reader.messages(limit=1000).items
    ],
    "no timeline": lambda reader: reader.message("none", body_at=no_body),
    "pages": pages,
    "pages of dead letters": dead_pages,
}


def differences(both: Both) -> dict[str, tuple[object, object]]:
    asked = {name: (ask(both.postgres), ask(both.sqlite)) for name, ask in ASKS.items()}
    return {name: answers for name, answers in asked.items() if answers[0] != answers[1]}


def test_before_anything_is_written_both_are_empty_alike(both: Both) -> None:
    assert differences(both) == {}


def test_both_give_the_same_to_whatever_is_asked(both: Both) -> None:
    stream, other = Stream(), Stream(1)
    both.write(stream.fold(*MESSAGES[:4]), other.fold(nrs("id=n3&channel=sms&event=sent&contactId=77&campaignId=9")))
    both.write(stream.fold(*MESSAGES[4:]), other.fold(Sent(b"")), other.fold())

    assert differences(both) == {}
    assert len(both.postgres.messages(q="77").items) == 4, "an empty answer would be the same too"


def test_both_give_the_same_of_every_documented_postback(both: Both) -> None:
    """But for what was learnt later: Postgres has a transition as it was, SQLite joins it to its message."""
    whole = [sent for sent in documented() if b"\\u0000" not in sent.body]
    stream = Stream()
    both.write(*(stream.fold(*whole[start : start + 7]) for start in range(0, len(whole), 7)))
    tails = [reader.transitions_after(0).transitions for reader in (both.postgres, both.sqlite)]
    later = [[{**change, "reference": 0, "campaign_id": 0, "channel": 0} for change in tail] for tail in tails]

    assert differences(both).keys() <= {"tail", "tail of three", "tail with a filter", "timelines"}
    assert later[0] == later[1]


def test_every_record_is_of_its_schema(tables: PostgresTables, reader: PostgresReader) -> None:
    tables.write_changes(Stream().fold(*documented()))

    for message in reader.messages(limit=1000).items:
        check(MessageStatus, message)
        assert list(message) == list(MessageStatus.__annotations__)
        assert {tuple(fact) for fact in message["facts"]} == {FACT_FIELDS}, "jsonb has an order of its own"
        check(MessageDetail, reader.message(message["message_id"], body_at=no_body))
    assert [check(Transition, change) for change in reader.transitions_after(0).transitions]
    assert [check(DeadLetterView, letter) for letter in reader.dead().items]


def test_a_database_without_tables_is_empty_and_is_read_when_it_has_them(
    postgres_url: str, reader: PostgresReader
) -> None:
    assert (reader.messages(), reader.dead(), reader.find("x")) == (Page([], None), Page([], None), [])
    assert (reader.last_transition(), reader.transitions_after(7), reader.audit_rows()) == (0, Tail([], 7), (0, [], {}))
    assert (reader.message("x", body_at=no_body), reader.dead_one("x"), reader.counts_by_status()) == (None, None, {})

    writer = PostgresTables(postgres_url)
    writer.write_changes(Stream().fold(braze("d1", "sent")))
    writer.close()

    assert [message["dispatch_id"] for message in reader.messages().items] == ["d1"]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_long_timeline_shows_the_same_two_ends(both: Both, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(sqlite_reader, "SHOWN_EACH_END", 2)
    monkeypatch.setattr(postgres_reader, "SHOWN_EACH_END", 2)
    both.write(Stream().fold(*(braze("d1", "sent", reason=str(number)) for number in range(count))))

    timeline = ASKS["timelines"](both.postgres)

    assert timeline == ASKS["timelines"](both.sqlite)


def test_cursors_and_limits_are_judged_before_the_database_is_asked() -> None:
    reader = PostgresReader("host=nowhere.invalid")

    with pytest.raises(CursorError):
        reader.messages(cursor="x")
    with pytest.raises(ValueError, match="limit is 0, expected 1 to 1000"):
        reader.dead(limit=0)


def test_a_reader_goes_on_while_the_tables_are_written(tables: PostgresTables, reader: PostgresReader) -> None:
    """The tail has every transition once and in order, in each thread, and a message never without its timeline."""
    stream, seen = Stream(), [[], [], []]  # type: tuple[Stream, list[list[str | None]]]

    def follow(found: list[str | None]) -> None:
        reached = 0
        while len(found) < 200:
            tail = reader.transitions_after(reached, limit=7)
            reached = tail.seq
            found += [change["dispatch_id"] for change in tail.transitions]
            for message in reader.messages(limit=2).items:
                detail = reader.message(message["message_id"], body_at=no_body)
                assert detail is not None
                assert len(detail["transitions"]) == len(detail["postbacks"]) == 1

    threads = [threading.Thread(target=follow, args=(found,)) for found in seen]
    for thread in threads:
        thread.start()
    for start in range(0, 200, 20):
        tables.write_changes(stream.fold(*(braze(f"d{number}", "sent") for number in range(start, start + 20))))
    for thread in threads:
        thread.join(30)

    assert seen == [[f"d{number}" for number in range(200)]] * 3


def test_a_server_that_is_away_is_one_line_without_the_password_and_is_used_again_when_it_is_back(
    private_postgres: LocalPostgres,
) -> None:
    url = private_postgres.url.replace("postgres@", "postgres:hunter2@")
    reader, writer = PostgresReader(url), PostgresTables(url)
    writer.write_changes(Stream().fold(braze("d1", "sent")))
    assert reader.find("d1")
    writer.close()

    private_postgres.kill()
    with pytest.raises(TablesError, match=r"^the tables cannot be read: .*Connection refused") as caught:
        reader.find("d1")
    private_postgres.start()

    assert reader.find("d1")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    reader.close()


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@[", "hunter2", "password=hunter2 hunter2"])
def test_an_address_that_is_none_is_told_without_it(url: str) -> None:
    with pytest.raises(TablesError) as caught:
        PostgresReader(url).find("x")

    assert "hunter2" not in str(caught.value)
