"""The audit: everything that was accepted is applied, folded, dead or pending, whatever happens meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.codec import check
from schemas.event import Event as Meaning
from schemas.event import Rejected
from schemas.postback import Postback
from schemas.records import Audit
from sendtrace.audit import adds_up, audit
from sendtrace.read_side import LogView
from sinks.tables.sqlite_retries import request_retry
from tests.integration.read_rig import HOUR_MS, Plant, Sent, braze, documented, nrs

DEAD = Sent(b"no json")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


class Mended(Normalizer):
    """Understands everything as the same event, as after a fix."""

    def __call__(self, postback: Postback) -> Meaning | Rejected:
        return super().__call__(postback._replace(body=braze("d1", "sent").body))


class Late:
    """A log about whose end one hears late: meanwhile more was kept and folded."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def end_position(self) -> int:
        end = self._plant.log_reader.end_position()
        self._plant.fold(braze("late", "sent"), DEAD)
        return end

    def count_by_hour(self, end: int) -> Mapping[tuple[str, str], int]:
        return self._plant.log_reader.count_by_hour(end)

    def count_from(self, position: int, end: int) -> Mapping[tuple[str, str], int]:
        return self._plant.log_reader.count_from(position, end)


def totals(account: Audit) -> tuple[int, int, int, int, int]:
    return account["accepted"], account["applied"], account["duplicates"], account["dead"], account["pending"]


def test_nothing_accepted_adds_up(plant: Plant) -> None:
    account = audit(plant.reader, LogView(plant.paths.raw, durable_end=lambda: None))

    assert account == check(Audit, {**dict.fromkeys(account, 0), "balanced": True, "rows": []})


def test_every_documented_body_is_accounted_for(plant: Plant) -> None:
    sent = documented()
    plant.fold(*sent)

    account = check(Audit, audit(plant.reader, plant.log_reader))

    assert account["balanced"]
    assert account["accepted"] == len(sent) == sum(totals(account)[1:])
    assert min(totals(account)[1:4]) > 0
    assert account["pending"] == 0


def test_what_is_not_folded_yet_is_pending(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))
    plant.keep(braze("d2", "sent"), DEAD)

    account = audit(plant.reader, plant.log_reader)

    assert totals(account) == (3, 1, 0, 0, 2)
    assert account["balanced"]


def test_everything_is_pending_before_the_tables_are_there(plant: Plant) -> None:
    plant.keep(braze("d1", "sent"), DEAD)

    account = audit(plant.reader, plant.log_reader)

    assert (totals(account), account["balanced"]) == ((2, 0, 0, 0, 2), True)


def test_a_retry_moves_a_body_from_dead_to_applied_or_folded(plant: Plant) -> None:
    plant.fold(DEAD, DEAD, braze("d2", "sent"))
    assert totals(audit(plant.reader, plant.log_reader)) == (3, 1, 0, 2, 0)

    request_retry(plant.paths.tables, requested_at="2020-09-01T01:00:00.000Z")
    plant.retry(normalize=Mended(Classifier.load(None)))

    account = audit(plant.reader, plant.log_reader)
    assert totals(account) == (3, 2, 1, 0, 0)
    assert account["balanced"]


def test_rows_are_by_source_and_hour_newest_hour_first(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "sent"), nrs("id=n1&event=sent&channel=sms"))
    plant.now_ms += HOUR_MS
    plant.fold(nrs("id=n2&event=sent&channel=sms"), DEAD)
    plant.keep(braze("d2", "sent"))

    account = audit(plant.reader, plant.log_reader)

    assert [(row["hour"][11:13], row["source"], *list(row.values())[2:]) for row in account["rows"]] == [
        ("01", "braze", 2, 0, 0, 1, 1),
        ("01", "nrs", 1, 1, 0, 0, 0),
        ("00", "braze", 2, 1, 1, 0, 0),
        ("00", "nrs", 1, 1, 0, 0, 0),
    ]
    assert all(map(adds_up, account["rows"]))


@pytest.mark.parametrize("change", ["applied = applied - 1", "dead = dead + 1"])
def test_a_difference_is_shown_and_not_levelled_out(plant: Plant, change: str) -> None:
    plant.fold(braze("d1", "sent"), DEAD)
    with closing(sqlite3.connect(plant.paths.tables)) as db, db:
        db.execute(f"UPDATE audit SET {change}")  # noqa: S608  a part of the test's own table

    account = audit(plant.reader, plant.log_reader)

    assert not account["balanced"]
    assert sum(totals(account)[1:]) != account["accepted"] == 2


def test_differences_that_cancel_out_are_still_differences(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"), nrs("id=n1&event=sent&channel=sms"))
    with closing(sqlite3.connect(plant.paths.tables)) as db, db:
        db.execute("UPDATE audit SET applied = applied + CASE source WHEN 'nrs' THEN 1 ELSE -1 END")

    account = audit(plant.reader, plant.log_reader)

    assert totals(account) == (2, 2, 0, 0, 0)
    assert not account["balanced"]


def test_what_happens_while_the_account_is_made_is_in_none_of_it(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))

    account = audit(plant.reader, Late(plant))

    assert (totals(account), account["balanced"]) == ((1, 1, 0, 0, 0), True)


def test_an_end_that_is_heard_of_late_hides_nothing_that_was_handled(plant: Plant) -> None:
    plant.fold(braze("d1", "sent"))
    early = plant.log_reader.end_position()
    plant.fold(braze("d2", "sent"), DEAD)

    account = audit(plant.reader, LogView(plant.paths.raw, durable_end=lambda: early))

    assert (totals(account), account["balanced"]) == ((3, 2, 0, 1, 0), True)


def test_the_account_balances_at_every_moment_of_a_running_system(plant: Plant) -> None:
    plant.fold(braze("d0", "sent"))
    log = LogView(plant.paths.raw, durable_end=lambda: None)
    accounts, stop = [], Event()

    def look() -> None:
        while not stop.is_set():
            accounts.append(audit(plant.reader, log))

    looker = Thread(target=look)
    looker.start()
    for number in range(15):
        plant.fold(braze(f"d{number}", "sent"), braze(f"d{number}", "sent"), DEAD)
    stop.set()
    looker.join()

    assert len(accounts) > 5
    assert [account for account in accounts if not account["balanced"]] == []
