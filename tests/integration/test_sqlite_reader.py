"""Messages as the tables' reader finds and shows them; every table is written by the real pipeline."""

from __future__ import annotations

import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.codec import check
from schemas.records import MessageDetail, MessageStatus, Transition
from sinks.tables import sqlite_reader
from sinks.tables.migrations import load, migrate
from sinks.tables.pages import Page
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_writer import MIGRATIONS_PACKAGE
from tests.integration.read_rig import Plant, braze, documented, nrs


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


def dispatches(page: Page[MessageStatus]) -> list[str | None]:
    return [message["dispatch_id"] for message in page.items]


def test_before_the_first_start_everything_is_empty(plant: Plant) -> None:
    reader = plant.reader

    assert reader.messages() == Page([], None)
    assert reader.dead() == Page([], None)
    assert reader.message("x", body_at=lambda _: None) is None
    assert (reader.find("x"), reader.dead_one("x"), reader.counts_by_status()) == ([], None, {})
    assert (reader.progress(), reader.last_transition(), reader.transitions_after(7, limit=1)) == (0, 0, ([], 7))
    assert reader.audit_rows() == (0, [], {})
    assert not plant.paths.tables.exists(), "a reader must not make the file"


def test_a_file_without_tables_yet_is_empty_and_is_read_when_it_has_them(plant: Plant) -> None:
    plant.paths.tables.touch()
    assert plant.reader.messages() == Page([], None)

    plant.fold(braze("d1", "sent"))

    assert dispatches(plant.reader.messages()) == ["d1"]


def test_every_documented_message_is_shown_as_its_record_says(plant: Plant) -> None:
    plant.fold(*documented())

    found = plant.reader.messages(limit=1000).items

    assert len(found) > 40
    for message in found:
        check(MessageStatus, message)
        check(MessageDetail, plant.reader.message(message["message_id"], body_at=plant.body_at))


def test_messages_come_newest_first_by_first_sight(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"), braze("d2", "sent"), braze("d1", "delivered"))

    assert dispatches(plant.reader.messages()) == ["d2", "d1"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"dispatch_id": "d1"}, ["d1"]),
        ({"external_send_id": "order-2"}, ["d3", "d2"]),
        ({"external_send_id": "order-2", "dispatch_id": "d3"}, ["d3"]),
        ({"source": "nrs"}, ["n1"]),
        ({"source": "braze"}, ["d3", "d2", "d1"]),
        ({"source": "none"}, []),
        ({"status": "bounced"}, ["n1", "d2"]),
        ({"status": "bounced", "source": "braze"}, ["d2"]),
        ({"outcome": "failed"}, ["n1", "d3", "d2"]),
        ({"outcome": "failed", "status": "aborted"}, ["d3"]),
        ({"outcome": "delivered", "status": "aborted"}, []),
        ({"outcome": "pending"}, ["d1"]),
        ({"campaign_id": "c1"}, ["d3", "d1"]),
        ({"campaign_id": "c1", "outcome": "failed"}, ["d3"]),
        ({"status": "no such word"}, []),
        ({"dispatch_id": "\udcff"}, []),
        ({"source": "\udcff"}, []),
    ],
)
def test_a_filter_finds_what_it_says(plant: Plant, asked: dict[str, str], expected: list[str]) -> None:
    plant.fold(
        braze("d1", "sent", external_send_id="order-1", campaign_api_id="c1"),
        braze("d2", "bounced", external_send_id="order-2", campaign_api_id="c2"),
        braze("d3", "aborted", external_send_id="order-2", campaign_api_id="c1"),
        nrs("id=n1&channel=mailing&event=hard_bounced&contactId=77&campaignId=9"),
    )

    assert dispatches(plant.reader.messages(**asked)) == expected  # type: ignore[arg-type]  # limit is not among them


@pytest.mark.parametrize("name", ["n1", "77", "9", "5"])
def test_q_finds_every_identifier_of_a_360nrs_message(plant: Plant, name: str) -> None:
    plant.fold(
        nrs("id=n1&channel=landing&event=form_submitted&contactId=77&campaignId=9&formId=5"),
        nrs("id=n2&channel=landing&event=sent&contactId=78&campaignId=10"),
    )

    assert dispatches(plant.reader.messages(q=name)) == ["n1"]


@pytest.mark.parametrize("name", ["d1", "order-1", "c1"])
def test_q_finds_every_identifier_of_a_braze_message(plant: Plant, name: str) -> None:
    plant.fold(braze("d1", "sent", external_send_id="order-1", campaign_api_id="c1"), braze("d2", "sent"))
    (message,) = plant.reader.messages(q=name).items

    assert message["dispatch_id"] == "d1"
    assert plant.reader.messages(q=message["message_id"]).items == [message]


def test_q_matches_whole_identifiers_only(plant: Plant) -> None:
    plant.fold(braze("d12", "sent", external_send_id="order-1"))

    assert [plant.reader.messages(q=part).items for part in ("d1", "d123", "D12", "order", "%", "")] == [[]] * 6


def test_q_shows_a_message_once_though_several_of_its_names_are_the_same(plant: Plant) -> None:
    plant.fold(nrs("id=7&channel=sms&event=sent&contactId=7&campaignId=7&formId=7"))

    assert dispatches(plant.reader.messages(q="7")) == ["7"]


def test_q_together_with_a_filter_holds_both(plant: Plant) -> None:
    plant.fold(
        nrs("id=n1&channel=sms&event=sent&contactId=77&campaignId=9"),
        nrs("id=n2&channel=sms&event=rejected&contactId=77&campaignId=9"),
        braze("77", "sent"),
    )

    assert dispatches(plant.reader.messages(q="77")) == ["77", "n2", "n1"]
    assert dispatches(plant.reader.messages(q="77", outcome="failed")) == ["n2"]
    assert dispatches(plant.reader.messages(q="9", status="sent")) == ["n1"]
    assert dispatches(plant.reader.messages(q="77", source="braze")) == ["77"]


def test_an_id_with_a_nul_inside_is_found_by_all_of_it(plant: Plant) -> None:
    plant.fold(braze("d\0x", "sent"), braze("d\0y", "sent"))

    assert dispatches(plant.reader.messages(q="d\0x")) == ["d\0x"]
    assert plant.reader.messages(q="d").items == []


def test_find_names_every_message_of_a_contact_newest_first(plant: Plant) -> None:
    plant.fold(
        nrs("id=n1&channel=sms&event=sent&contactId=77&campaignId=9"),
        nrs("id=n2&channel=sms&event=sent&contactId=77&campaignId=9"),
    )
    newest, oldest = plant.reader.messages().items

    assert plant.reader.find("77") == [newest["message_id"], oldest["message_id"]]
    assert plant.reader.find("77", limit=1) == [newest["message_id"]]
    assert plant.reader.find("n1") == plant.reader.find(oldest["message_id"]) == [oldest["message_id"]]
    assert plant.reader.find("9") == [], "a campaign is not a message"
    assert plant.reader.find("\udcff") == []


def test_a_timeline_has_transitions_and_bodies_oldest_first(plant: Plant) -> None:
    sent = [braze("d1", "sent"), braze("d1", "delivered"), braze("d1", "delivered"), braze("d1", "bounced")]
    receipts = plant.fold(*sent)
    (message_id,) = plant.reader.find("d1")

    detail = plant.reader.message(message_id, body_at=plant.body_at)

    assert detail is not None
    assert [change["status"] for change in detail["transitions"]] == ["sent", "delivered", "bounced"]
    assert [change["kind"] for change in detail["transitions"]] == ["status", "status", "conflict"]
    assert [postback["receipt_id"] for postback in detail["postbacks"]] == receipts
    assert [postback["effect"] for postback in detail["postbacks"]] == ["applied", "applied", "duplicate", "applied"]
    assert [b64decode(postback["body_base64"] or "") for postback in detail["postbacks"]] == [one.body for one in sent]


def test_a_body_that_is_gone_is_null(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))
    (message_id,) = plant.reader.find("d1")

    detail = plant.reader.message(message_id, body_at=lambda _: None)

    assert detail is not None
    assert [(postback["body_base64"], postback["flags"]) for postback in detail["postbacks"]] == [(None, [])]


def test_a_long_timeline_shows_its_two_ends(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_reader, "SHOWN_EACH_END", 2)
    receipts = plant.fold(*(braze("d1", "sent", reason=str(number)) for number in range(6)))
    (message_id,) = plant.reader.find("d1")

    detail = plant.reader.message(message_id, body_at=plant.body_at)

    assert detail is not None
    assert [change["reason"] for change in detail["transitions"]] == ["0", "1", "4", "5"]
    assert [postback["receipt_id"] for postback in detail["postbacks"]] == [*receipts[:2], *receipts[-2:]]
    assert detail["version"] == 6


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_timeline_as_long_as_its_ends_is_whole(plant: Plant, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(sqlite_reader, "SHOWN_EACH_END", 2)
    receipts = plant.fold(*(braze("d1", "sent", reason=str(number)) for number in range(count)))
    (message_id,) = plant.reader.find("d1")

    detail = plant.reader.message(message_id, body_at=plant.body_at)

    assert detail is not None
    assert [postback["receipt_id"] for postback in detail["postbacks"]] == receipts


def test_bodies_beyond_the_room_of_one_answer_are_left_out_and_flagged(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [braze("d1", "sent", reason="x" * 100), braze("d1", "sent", reason="y" * 200), braze("d1", "sent")]
    plant.fold(*sent)
    monkeypatch.setattr(sqlite_reader, "MOST_BODY_BYTES", len(sent[0].body) + len(sent[2].body))
    (message_id,) = plant.reader.find("d1")

    detail = plant.reader.message(message_id, body_at=plant.body_at)

    assert detail is not None
    shown = [(postback["body_base64"] is not None, postback["flags"]) for postback in detail["postbacks"]]
    assert shown == [(True, []), (False, ["body_left_out"]), (True, [])]


def test_a_tail_goes_on_where_it_stopped(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"), braze("d2", "bounced"), braze("d3", "sent"))

    first = plant.reader.transitions_after(0, limit=2)
    rest = plant.reader.transitions_after(first.seq, limit=2)

    assert [change["dispatch_id"] for change in first.transitions + rest.transitions] == ["d1", "d2", "d3"]
    assert [check(Transition, change) for change in first.transitions] == first.transitions
    assert plant.reader.transitions_after(rest.seq, limit=2) == ([], rest.seq)
    assert rest.seq == plant.reader.last_transition()


def test_a_filtered_tail_moves_past_what_it_does_not_show(plant: Plant) -> None:
    plant.fold(braze("d1", "bounced"), braze("d2", "sent"), braze("d3", "sent"))

    tail = plant.reader.transitions_after(0, limit=10, status="bounced", source="braze")

    assert [change["dispatch_id"] for change in tail.transitions] == ["d1"]
    assert tail.seq == 3
    assert plant.reader.transitions_after(0, limit=10, source="nrs") == ([], 3)


def test_statuses_are_counted_with_their_latest_different_reasons(plant: Plant) -> None:
    reasons = ["full", "full", "no such user", "blocked", "late"]
    plant.fold(
        *(braze(f"d{number}", "bounced", reason=reason) for number, reason in enumerate(reasons)), braze("d9", "sent")
    )

    assert plant.reader.counts_by_status() == {"bounced": 5, "sent": 1}
    assert plant.reader.latest_reasons() == {"bounced": ["late", "blocked", "no such user"]}


def test_progress_is_the_end_of_what_was_folded(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))
    folded = plant.log_reader.end_position()
    plant.keep(braze("d2", "sent"))

    assert plant.reader.progress() == folded
    assert plant.log_reader.end_position() > folded


def test_a_reader_goes_on_while_the_tables_are_written(plant: Plant) -> None:
    for number in range(5):
        plant.fold(braze(f"d{number}", "sent"))

        assert dispatches(plant.reader.messages(limit=1)) == [f"d{number}"]


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_limit_out_of_range_is_an_error(plant: Plant, limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit is {limit}, expected 1 to 1000"):
        plant.reader.messages(limit=limit)


def test_tables_of_an_older_release_are_counted_as_they_are(tmp_path: Path) -> None:
    """Reading changes nothing, so what 0003 adds may be missing."""
    with closing(sqlite3.connect(tmp_path / "tables.db", isolation_level=None)) as db:
        migrate(db, load(MIGRATIONS_PACKAGE)[:2])
        db.execute("INSERT INTO audit VALUES ('braze', '2026-11-21T10:00:00.000Z', 3, 2, 1)")
    with closing(SqliteReader(tmp_path / "tables.db")) as reader:
        assert reader.audit_rows() == (0, [("braze", "2026-11-21T10:00:00.000Z", 3, 2, 1, 0)], {})
