"""Postgres is killed while the tables are written: after it is back, everything is there once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import psycopg
import pytest

from sinks.tables.changes import Changes
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PostgresTables
from tests.integration.read_rig import braze, documented
from tests.postgres.changes_rig import Stream
from tests.postgres.local_postgres import LocalPostgres
from tests.postgres.tables_rig import everything

_TRIES = 500


def some_changes(stream: Stream, count: int) -> list[Changes]:
    """Of some hundred postbacks each: new messages, and news of those before."""
    return [
        stream.fold(
            *documented(),
            *(
                braze(f"d{one}", status)
                for one in range(number * 50, number * 50 + 150)
                for status in ("sent", "bounced")
            ),
        )
        for number in range(count)
    ]


def write_all(writer: PostgresTables, waiting: Sequence[Changes], dead: threading.Event) -> None:
    """As the sink does: the same changes again until they are written."""
    for changes in waiting:
        for _ in range(_TRIES):
            try:
                writer.write_changes(changes)
                break
            except psycopg.OperationalError:
                dead.wait(0.05)
        else:
            raise AssertionError("the database did not come back")


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_when_postgres_is_killed_again_and_again(
    private_postgres: LocalPostgres, postgres_url: str, seed: int
) -> None:
    changes = some_changes(Stream(), 12)
    undisturbed = PostgresTables(postgres_url)
    for one in changes:
        undisturbed.write_changes(one)
    undisturbed.close()
    chance, writer, over = random.Random(seed), PostgresTables(private_postgres.url), threading.Event()
    writing = threading.Thread(target=write_all, args=(writer, changes, over))
    writing.start()
    kills = 0
    while writing.is_alive():
        time.sleep(chance.uniform(0.02, 0.25))
        if writing.is_alive():
            private_postgres.kill()
            private_postgres.start()
            kills += 1
    writing.join()
    writer.close()

    assert everything(private_postgres.url) == everything(postgres_url)
    assert kills > 0


def test_a_commit_whose_answer_was_lost_is_not_written_again(
    private_postgres: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, stream = PostgresTables(private_postgres.url), Stream()
    changes = stream.fold(braze("d1", "sent"), braze("d2", "sent"))
    commit = psycopg.Transaction._commit_gen  # where psycopg sends COMMIT

    def kill_before_the_answer(self: psycopg.Transaction):  # type: ignore[no-untyped-def]  # noqa: ANN202  a generator of psycopg's own
        outermost = not self._savepoint_name
        yield from commit(self)
        if outermost:
            private_postgres.kill()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Transaction, "_commit_gen", kill_before_the_answer)
        with pytest.raises(psycopg.OperationalError):
            writer.write_changes(changes)
    private_postgres.start()
    before = everything(private_postgres.url)
    write_all(writer, [changes, changes, stream.fold(braze("d3", "sent"))], threading.Event())

    after = everything(private_postgres.url)
    assert (len(before["messages"]), len(after["messages"]), len(after["transitions"])) == (2, 3, 3)
    writer.close()


def test_a_reader_that_was_asking_when_it_was_killed_answers_when_it_is_back(private_postgres: LocalPostgres) -> None:
    writer = PostgresTables(private_postgres.url)
    writer.write_changes(Stream().fold(braze("d1", "sent")))
    writer.close()
    reader = PostgresReader(private_postgres.url)
    for _ in range(3):
        assert reader.find("d1")
        private_postgres.kill()
        private_postgres.start()

    assert reader.find("d1")
    reader.close()
