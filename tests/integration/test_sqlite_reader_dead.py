"""Dead letters: shown with their exact bytes, marked for another try, applied once."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.codec import check
from schemas.event import Event, Rejected
from schemas.postback import Postback
from schemas.records import DeadLetterView
from sinks.tables.sqlite_retries import request_retry
from tests.integration.read_rig import Plant, Sent, braze, nrs

NOW = "2020-09-01T01:00:00.000Z"
NO_JSON = Sent(b"{\xff\x00no json")
AN_ARRAY = Sent(b"[]")
NO_EVENT = nrs("id=x1&channel=sms")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


class Mended(Normalizer):
    """Understands what is not JSON, as after a fix."""

    def __call__(self, postback: Postback) -> Event | Rejected:
        body = braze("mended", "sent").body if postback.body == NO_JSON.body else postback.body
        return super().__call__(postback._replace(body=body))


def test_dead_letters_come_newest_first_with_their_exact_bytes(plant: Plant) -> None:
    receipts = plant.fold(NO_JSON, braze("d1", "sent"), AN_ARRAY)

    found = plant.reader.dead().items

    assert [check(DeadLetterView, letter)["reason"] for letter in found] == ["not_an_object", "invalid_json"]
    assert [b64decode(letter["body_base64"]) for letter in found] == [AN_ARRAY.body, NO_JSON.body]
    assert [letter["receipt_id"] for letter in found] == [receipts[2], receipts[0]]


@pytest.mark.parametrize(
    ("asked", "reasons"),
    [
        ({"reason": "invalid_json"}, ["invalid_json"]),
        ({"source": "nrs"}, ["no_status"]),
        ({"source": "nrs", "reason": "invalid_json"}, []),
        ({"reason": "\udcff"}, []),
    ],
)
def test_dead_letters_are_found_by_reason_and_source(plant: Plant, asked: dict[str, str], reasons: list[str]) -> None:
    plant.fold(NO_JSON, AN_ARRAY, NO_EVENT)

    assert [letter["reason"] for letter in plant.reader.dead(**asked).items] == reasons  # type: ignore[arg-type]  # texts


def test_one_dead_letter_is_found_by_its_id(plant: Plant) -> None:
    plant.fold(NO_JSON)
    (letter,) = plant.reader.dead().items

    assert plant.reader.dead_one(letter["dead_id"]) == letter
    assert plant.reader.dead_one("another") is None
    assert plant.reader.dead_one("\udcff") is None


def test_a_retry_that_is_understood_now_is_shown_and_no_longer_open(plant: Plant) -> None:
    plant.fold(NO_JSON, AN_ARRAY)

    assert request_retry(plant.paths.tables, requested_at=NOW) == 2
    plant.retry(normalize=Mended(Classifier.load(None)))

    assert [letter["reason"] for letter in plant.reader.dead(open_only=True).items] == ["not_an_object"]
    still, mended = plant.reader.dead().items
    assert (still["retried_at"], mended["retried_at"] is not None) == (None, True)
    assert plant.reader.handled().open_dead == {"not_an_object": 1}
    (message_id,) = plant.reader.find("mended")
    detail = plant.reader.message(message_id, body_at=plant.body_at)
    assert detail is not None
    assert b64decode(detail["postbacks"][0]["body_base64"] or "") == NO_JSON.body


def test_what_a_retry_applied_is_not_tried_again(plant: Plant) -> None:
    plant.fold(NO_JSON)
    for _ in range(2):
        marked = request_retry(plant.paths.tables, requested_at=NOW)
        plant.retry(normalize=Mended(Classifier.load(None)))

    assert marked == 0
    assert plant.reader.messages().items[0]["version"] == 1


@pytest.mark.parametrize(
    ("asked", "marked"),
    [
        ({}, 3),
        ({"reason": "not_an_object"}, 1),
        ({"source": "nrs"}, 1),
        ({"source": "\udcff"}, 0),
        ({"dead_ids": []}, 0),
        ({"dead_ids": ["x", "\udcff"]}, 0),
    ],
)
def test_a_retry_marks_what_it_is_asked_for(plant: Plant, asked: dict[str, str], marked: int) -> None:
    plant.fold(NO_JSON, AN_ARRAY, NO_EVENT)

    assert request_retry(plant.paths.tables, requested_at=NOW, **asked) == marked
    assert len(plant._tables.to_retry(10) if plant._tables else []) == marked


def test_a_retry_by_id_marks_each_once(plant: Plant) -> None:
    plant.fold(NO_JSON, AN_ARRAY)
    ids = [letter["dead_id"] for letter in plant.reader.dead().items]

    assert request_retry(plant.paths.tables, requested_at=NOW, dead_ids=[ids[0], ids[0]]) == 1
    assert request_retry(plant.paths.tables, requested_at=NOW, dead_ids=ids, reason="invalid_json") == 1


def test_asking_twice_counts_again_and_keeps_the_first_time(plant: Plant) -> None:
    plant.fold(NO_JSON)
    request_retry(plant.paths.tables, requested_at=NOW)

    assert request_retry(plant.paths.tables, requested_at="2020-09-01T02:00:00.000Z") == 1
    assert plant._tables is not None
    assert plant._tables._db.execute("SELECT retry_requested_at FROM dead_letters").fetchall() == [(NOW,)]


def test_a_retry_before_there_are_tables_marks_nothing(plant: Plant) -> None:
    assert request_retry(plant.paths.tables, requested_at=NOW) == 0
    plant.paths.tables.touch()
    assert request_retry(plant.paths.tables, requested_at=NOW) == 0
