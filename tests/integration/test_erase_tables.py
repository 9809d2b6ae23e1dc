"""A recipient is erased from SQLite and Postgres alike: no trace in any table, and everything else as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest

from processors.partition import PartitionProcessor
from processors.personal import Seal
from schemas.incidents import GroupState, IncidentOutputs
from schemas.kafka_outputs import outputs_of
from schemas.personal import Digests, Value, values_of
from schemas.topics import DEAD, RECEIPTS, STATUS, TRANSITIONS
from sinks.personal.cells import is_looked_at
from sinks.personal.erasing import Erasure, Touched
from sinks.personal.held import ErasureKeyError
from sinks.tables.changes import Changes, TablesWriter
from sinks.tables.incident_tables import IncidentTables
from sinks.tables.kafka_chunk import Chunk
from sinks.tables.postgres_erase import erase_from_postgres
from sinks.tables.postgres_incidents import PostgresIncidents
from sinks.tables.postgres_personal import add_listed_at, listed_at
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_erase import erase_from_sqlite
from sinks.tables.sqlite_incidents import open_sqlite_incidents
from sinks.tables.sqlite_sink import SqliteSink
from tests.integration.read_rig import Sent, braze, nrs
from tests.postgres.changes_rig import NORMALIZER, Stream
from tests.postgres.incident_rows_rig import change, incident, sample

SECRET: Final = "a secret of thirty-two characters"
DIGESTS: Final = Digests(SECRET)
ANN: Final = "ann.example@mail.example"
BOB: Final = "bob.example@mail.example"
NOW: Final = "2026-01-01T00:00:00.000Z"
REASON: Final = "550 5.1.1 <{}>: no such user"

Dump = dict[str, list[str]]


def named(dispatch_id: str, address: str) -> Sent:
    body = {"dispatch_id": dispatch_id, "status": "delivered", "to": [address], "metadata": {"ip": "203.0.113.9"}}
    return Sent(json.dumps(body).encode())


SENT: Final = (
    *(braze(f"b{number}", "bounced", reason=REASON.format(who)) for number, who in enumerate((ANN, BOB, ANN.upper()))),
    *(named("d1", ANN), named("d2", BOB)),
    *(Sent(f"no json of <{who}>".encode()) for who in (ANN, BOB)),
    nrs("id=n1&channel=mailing&event=hard_bounced&contactId=7100001&smtpResponse=not+to+ann.example%40mail.example"),
    braze("nul", "bounced", reason=f"\0 {REASON.format(ANN)}"),
    Sent(f"to={ANN}".encode(), content_type="text\0/plain"),
)


class Sealed(Stream):
    """A stream whose personal values are sealed and come over the topics, as on Kafka."""

    def __init__(self, *, encrypted: bool = False) -> None:
        super().__init__()
        self._processor = PartitionProcessor(
            normalize=NORMALIZER, store=self.states, seal=Seal(SECRET, encrypted=encrypted)
        )

    def fold(self, *sent: Sent) -> Changes:
        changes = super().fold(*sent)
        outputs = outputs_of(changes.batch, partition=0, next_offset=self._offset)
        chunk = Chunk()
        of_topics = (outputs.status, outputs.transitions, outputs.receipts, outputs.dead)
        for topic, records in zip((STATUS, TRANSITIONS, RECEIPTS, DEAD), of_topics, strict=True):
            chunk.add(topic.name, [_Fetched(0, n, one.value, one.headers) for n, one in enumerate(records)])
        assert chunk.not_understood == 0
        return chunk.changes(changes.positions, changes.accepted)


class _Fetched(NamedTuple):
    partition: int
    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Base(NamedTuple):
    """One of the two databases."""

    open_writer: Callable[[Digests | None], TablesWriter]
    open_incidents: Callable[[], IncidentTables]
    run: Callable[[Erasure], Touched]
    ask: Callable[[str], list[tuple[object, ...]]]
    names: str

    def dump(self) -> Dump:
        """Every row of every table but the list as text."""
        tables = [str(row[0]) for row in self.ask(self.names)]
        return {
            name: sorted(str(row) for row in self.ask(f"SELECT * FROM {name}"))  # noqa: S608  names of ours
            for name in tables
            if name not in {"erasures", "sqlite_sequence"}
        }

    def erase(self, recipient: str, *, apply: bool = True) -> Touched:
        return self.run(Erasure(tuple(values_of(recipient)), DIGESTS, NOW, apply))


@pytest.fixture(params=["sqlite", "postgres"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    if request.param == "sqlite":
        path = tmp_path / "tables.db"

        def ask(query: str) -> list[tuple[object, ...]]:
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                return db.execute(query).fetchall()

        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        yield Base(
            lambda digests: SqliteSink(path, digests),
            lambda: open_sqlite_incidents(path, DIGESTS),
            lambda e: erase_from_sqlite(path, e),
            ask,
            names,
        )
        return
    url: str = request.getfixturevalue("postgres_url")

    def ask_postgres(query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(url, autocommit=True) as db:
            cursor = db.execute(query)
            return cursor.fetchall() if cursor.description else []

    names = "SELECT relname FROM pg_class WHERE relkind IN ('r') AND relnamespace = 'public'::regnamespace"
    yield Base(
        lambda digests: PostgresTables(url, digests=digests),
        lambda: PostgresIncidents(url, DIGESTS),
        lambda e: erase_from_postgres(url, e),
        ask_postgres,
        names,
    )


def write(base: Base, *all_changes: Changes, digests: Digests | None = DIGESTS) -> None:
    with closing(base.open_writer(digests)) as writer:
        for changes in all_changes:
            writer.write_changes(changes)


def holding(dump: Dump, *texts: str) -> list[str]:
    return [name for name, rows in dump.items() for text in texts if any(text.lower() in row.lower() for row in rows)]


def test_everything_of_one_recipient_goes_and_nothing_else(base: Base) -> None:
    write(base, Sealed().fold(*SENT))
    before, counted = base.dump(), base.erase(ANN, apply=False)
    assert base.dump() == before

    touched = base.erase(ANN.title())

    after = base.dump()
    assert touched == counted
    assert touched.messages_of == 1
    assert holding(after, ANN, f"<{ANN}>".encode().hex(), ANN.replace("@", "%40")) == []
    assert {name: len(rows) for name, rows in before.items()} == {
        **{name: len(rows) for name, rows in after.items()},
        "personal_data": len(before["personal_data"]),
    }
    for name, rows in before.items():
        kept = [row for row in rows if BOB in row]
        assert set(kept) <= set(after[name]), name
    assert sorted(before["audit"]) == sorted(after["audit"])
    assert len(before["personal_data"]) - len(after["personal_data"]) == 2


def test_what_comes_late_is_held_to_the_list(base: Base) -> None:
    stream = Sealed()
    write(base, stream.fold(*SENT))
    base.erase(ANN)
    base.erase("7100001")

    late = (
        braze("b0", "aborted", reason=f"again {ANN}"),  # the worker's state has the first reason still
        named("d9", ANN),
        Sent(b'{"dispatch_id": "d9", "status": "sent", "ip": "203.0.113.10", "metadata": {}}'),
        Sent(f"still no json {ANN}".encode()),
        nrs("id=n2&channel=sms&event=sent&contactId=7100001&ip=203.0.113.11"),
        named("d2", BOB),
    )
    write(base, *(stream.fold(one) for one in late))

    after = base.dump()
    assert holding(after, ANN, "7100001") == []
    left = {str(row[0]) for row in base.ask("SELECT message_id FROM personal_data")}
    assert left == {str(row[0]) for row in base.ask("SELECT message_id FROM messages WHERE dispatch_id = 'd2'")}


def test_a_recipient_seen_only_later_takes_what_came_before_along(base: Base) -> None:
    write(base, Sealed().fold(braze("other", "sent")))
    base.erase(ANN)
    stream = Sealed()
    stream._offset = 5
    first = Sent(b'{"dispatch_id": "d9", "status": "sent", "ip": "203.0.113.10", "metadata": {}}')
    write(base, stream.fold(first))
    assert len(base.dump()["personal_data"]) == 1

    write(base, stream.fold(named("d9", ANN)), stream.fold(first))

    assert base.dump()["personal_data"] == []


def test_without_the_key_nothing_is_written_beside_a_list(base: Base) -> None:
    stream = Sealed()
    write(base, stream.fold(*SENT))
    base.erase(ANN)
    before = base.dump()

    for digests in (None, Digests("another secret of thirty-two characters")):
        with pytest.raises(ErasureKeyError, match=r"another personal\.key"):
            write(base, stream.fold(braze("d5", "sent")), digests=digests)

    assert base.dump() == before


def test_texts_of_every_table_are_looked_at(base: Base) -> None:
    """Incidents, notifications and what later releases add: whatever has a text, JSON or bytes."""
    write(base, Sealed().fold(braze("d1", "sent")))
    sample = json.dumps([{"message_id": "m", "reason": REASON.format(ANN)}])
    for statement in _rows_of_others(base, sample):
        base.ask(statement)

    touched = base.erase(ANN)

    assert touched.rows == {"incident_groups": 1, "incident_changes": 1, "incidents": 1, "later": 1}
    after = base.dump()
    assert holding(after, ANN) == []
    assert sorted(holding(after, BOB)) == ["incidents", "later"]


def _rows_of_others(base: Base, sample: str) -> tuple[str, ...]:
    incident = f"'r', 'count', 'info', 'open', 1, '{NOW}', '{NOW}', '{NOW}', 'bounces of {ANN}', 'ask {BOB}'"
    columns = "rule, kind, severity, state, count, first_seen, last_seen, opened_at, title, advice"
    change = f"'c', 'i', 'opened', '{NOW}', '{sample}', '{NOW}'"
    data = _bytes(base, sample)
    return (  # texts of this test alone
        "CREATE TABLE later (one INTEGER PRIMARY KEY, told TEXT, flags TEXT)",
        f"INSERT INTO later VALUES (1, 'to {ANN}', '[]'), (2, 'to {BOB}', '[]'), (3, NULL, '[]')",  # noqa: S608  as said
        f"INSERT INTO incident_groups (group_id, state) VALUES ('g', {data})",  # noqa: S608  as said
        f"INSERT INTO incidents (incident_id, samples, {columns}) VALUES ('i', '{sample}', {incident})",  # noqa: S608  as said
        f"INSERT INTO incident_changes (change_id, incident_id, change, at, record, made_at) VALUES ({change})",  # noqa: S608  as said
    )


def _bytes(base: Base, text: str) -> str:
    return f"X'{text.encode().hex()}'" if "sqlite" in base.names else f"'\\x{text.encode().hex()}'"


def test_incidents_computed_from_topics_are_held_to_the_list(base: Base) -> None:
    """The topic of failures has the reason still, and the step a state with it in hand."""
    write(base, Sealed().fold(*SENT))
    base.erase(ANN)
    found = incident("a", title=f"to {ANN}", samples=[sample(reason=REASON.format(ANN)), sample(reason=BOB)])
    state = GroupState("g", 7, json.dumps({"samples": [REASON.format(ANN)], "count": 2}).encode())

    with closing(base.open_incidents()) as tables, tables.transaction():
        outputs = IncidentOutputs([state], [found], [change(found, "opened", 1)])
        assert tables.write(outputs, {("failures", 0): 7}, watermark_ms=5) == 1

    after = base.dump()
    assert holding(after, ANN) == []
    assert len(after["incident_groups"]) == len(after["incidents"]) == len(after["incident_changes"]) == 1
    assert "incidents" in holding(after, BOB)


def test_no_column_of_a_sender_is_left_out() -> None:
    looked_at = ("reason", "provider_status", "detail", "body", "record", "channel", "external_send_id", "reference")

    assert [name for name in looked_at if not is_looked_at(name)] == []


def test_a_list_goes_into_a_database_made_anew_before_it_is_filled(postgres_url: str) -> None:
    value = Value("address", ANN)
    add_listed_at(postgres_url, [DIGESTS.erased(value, NOW)])

    assert listed_at(postgres_url) == [DIGESTS.erased(value, NOW)]
    with closing(PostgresTables(postgres_url, digests=DIGESTS)) as writer:
        writer.write_changes(Sealed().fold(*SENT))
    with psycopg.connect(postgres_url) as db:
        texts = str(db.execute("SELECT m FROM messages AS m").fetchall())
        texts += str(db.execute("SELECT d FROM dead_letters AS d").fetchall())
    assert ANN not in texts.lower()
    assert BOB in texts


def test_the_same_value_is_sealed_to_the_same_text_and_opens_again(base: Base) -> None:
    write(base, Sealed(encrypted=True).fold(named("d1", ANN), named("d2", ANN)))
    rows = base.ask("SELECT sealed, digest FROM personal_data WHERE kind = 'recipient'")

    assert len(rows) == 2
    assert len(set(rows)) == 1
    assert ANN not in str(base.dump())
