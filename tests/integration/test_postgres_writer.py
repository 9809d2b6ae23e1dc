"""What is written into the Postgres tables: each set of changes once, whatever is given twice or refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.normalize import Normalizer
from schemas.batch import Batch
from schemas.event import Event, Rejected
from schemas.postback import Postback
from schemas.records import StatusRecord
from schemas.times import iso_ms
from sinks.tables.changes import Changes
from sinks.tables.postgres_reader import PostgresReader
from sinks.tables.postgres_writer import PositionsMovedError, PostgresTables
from tests.integration.read_rig import Sent, braze, documented, nrs
from tests.postgres.changes_rig import NOTHING, Stream
from tests.postgres.tables_rig import Both, both, everything, reader, rows_of, tables

__all__ = ["both", "reader", "tables"]

HOUR: Final = "2020-09-01T00:00:00.000Z"
NO_JSON: Final = Sent(b"{no json")


class Mended(Normalizer):
    """Understands what is not JSON, as after a fix."""

    def __call__(self, postback: Postback) -> Event | Rejected:
        body = braze("mended", "sent").body if postback.body == NO_JSON.body else postback.body
        return super().__call__(postback._replace(body=body))


def postbacks_of(changes: Changes) -> list[Postback]:
    return [receipt.record.postback for receipt in changes.batch.receipts]


def test_positions_are_those_that_were_written(tables: PostgresTables, postgres_url: str) -> None:
    assert tables.positions() == {}
    tables.write_changes(Changes(NOTHING, {}, {("raw", 0): 7, ("status", 5): 2**62}))
    tables.write_changes(Changes(NOTHING, {}, {("raw", 0): 8}))
    tables.close()

    again = PostgresTables(postgres_url)

    assert again.positions() == {("raw", 0): 8, ("status", 5): 2**62}
    again.close()


def test_the_same_changes_again_change_nothing(tables: PostgresTables, postgres_url: str) -> None:
    stream = Stream()
    first, second = stream.fold(*documented()), stream.fold(braze("d1", "sent"))
    tables.write_changes(first)
    tables.write_changes(second)
    before = everything(postgres_url)

    tables.write_changes(second)
    tables.write_changes(first)

    assert everything(postgres_url) == before
    assert tables.rows_set_aside > 0, "rows that were set aside are not set aside again"


def test_the_same_changes_from_the_next_writer_change_nothing(tables: PostgresTables, postgres_url: str) -> None:
    changes = Stream().fold(braze("d1", "sent"), NO_JSON)
    tables.write_changes(changes)
    tables.close()
    before = everything(postgres_url)

    again = PostgresTables(postgres_url)
    again.write_changes(changes)
    again.close()

    assert everything(postgres_url) == before


def test_changes_that_are_written_in_part_are_refused_as_a_whole(tables: PostgresTables, postgres_url: str) -> None:
    stream = Stream()
    tables.write_changes(stream.fold(braze("d1", "sent")))
    before = everything(postgres_url)

    with pytest.raises(PositionsMovedError, match="start again from their positions"):
        tables.write_changes(Changes(NOTHING, {("braze", HOUR): 1}, {("raw", 0): 0, ("raw", 1): 9}))

    assert everything(postgres_url) == before


def test_a_state_replaces_the_one_before_and_keeps_its_place(tables: PostgresTables, reader: PostgresReader) -> None:
    stream = Stream()
    tables.write_changes(stream.fold(braze("d1", "sent"), braze("d2", "sent")))
    tables.write_changes(stream.fold(braze("d1", "delivered"), braze("d3", "sent")))

    found = reader.messages().items

    assert [(message["dispatch_id"], message["status"]) for message in found] == [
        *(("d3", "sent"), ("d2", "sent"), ("d1", "delivered"))
    ]
    assert {message["message_id"]: message for message in found} == {
        message_id: {name: value for name, value in state.items() if name != "repeated_until"}
        for message_id, state in stream.states.items()
    }


def test_numbers_have_no_gaps(tables: PostgresTables, postgres_url: str) -> None:
    stream = Stream()
    for number in range(4):
        tables.write_changes(stream.fold(*(braze(f"d{one}", "sent", reason=str(number)) for one in range(number + 2))))

    assert rows_of(postgres_url, "SELECT array_agg(seq ORDER BY seq) FROM messages") == [([1, 2, 3, 4, 5],)]
    assert rows_of(postgres_url, "SELECT array_agg(seq ORDER BY seq) FROM transitions") == [(list(range(1, 15)),)]


@pytest.mark.parametrize("settled_first", [False, True], ids=["in another batch", "in the same batch"])
def test_a_dead_letter_that_is_understood_now_is_settled_and_counted_once(both: Both, settled_first: bool) -> None:  # noqa: FBT001  a parameter of pytest
    stream = Stream(normalize=Mended(Classifier.load(None)))
    dead = Stream(7).fold(NO_JSON)
    mended = stream.fold_again(postbacks_of(dead))
    if settled_first:
        both.write(joined(dead, mended))
    else:
        both.write(dead, mended)
    (count,) = both.postgres.audit_rows().counts
    (letter,) = both.postgres.dead().items

    assert count == ("braze", HOUR, 1, 0, 0, 1)
    assert letter["retried_at"] is not None
    assert both.postgres.dead(open_only=True).items == []
    (message_id,) = both.postgres.find("mended")
    assert both.postgres.message(message_id, body_at=lambda _: b"") == both.sqlite.message(
        message_id, body_at=lambda _: b""
    )
    assert both.postgres.audit_rows() == both.sqlite.audit_rows()


def joined(*all_changes: Changes) -> Changes:
    """One set of what came in several."""
    batches = [changes.batch for changes in all_changes]
    accepted: Counter[tuple[str, str]] = Counter()
    for changes in all_changes:
        accepted.update(changes.accepted)
    return Changes(
        Batch(
            [transition for batch in batches for transition in batch.transitions],
            {message_id: state for batch in batches for message_id, state in batch.states.items()},
            {},
            [receipt for batch in batches for receipt in batch.receipts],
            [dead for batch in batches for dead in batch.dead],
            [name for batch in batches for name in batch.identifiers],
        ),
        accepted,
        {place: end for changes in all_changes for place, end in changes.positions.items()},
    )


def test_a_dead_letter_that_is_refused_again_says_why_it_is_now(both: Both) -> None:
    stream = Stream()
    dead = stream.fold(NO_JSON)
    postback = postbacks_of(dead)[0]._replace(body=b"[]")
    both.write(dead, stream.fold_again([postback]))

    (letter,) = both.postgres.dead().items

    assert letter["reason"] == "not_an_object"
    assert both.postgres.dead() == both.sqlite.dead()
    assert both.postgres.audit_rows().counts == both.sqlite.audit_rows().counts == [("braze", HOUR, 0, 0, 1, 1)]


def test_a_body_that_lies_on_the_topic_twice_is_counted_once(both: Both) -> None:
    stream = Stream()
    first = stream.fold(braze("d1", "sent"), nrs("id=1&channel=sms&event=sent"))
    both.write(first, stream.fold_again(postbacks_of(first)))

    assert both.postgres.audit_rows() == both.sqlite.audit_rows()
    assert [count[2:] for count in both.postgres.audit_rows().counts] == [(1, 0, 0, 1)] * 2


PLAIN_FAULT: Final = "U+0000 in a text"
FAULTS: Final[dict[str, dict[str, object]]] = {
    PLAIN_FAULT: {"reason": "a\0b"},
    "U+0000 in a fact": {"facts": [{"reason": "a\0b"}]},
    "half a character": {"reason": "\ud800"},
    "half a character in a fact": {"facts": [{"reason": "\ud800"}]},
    "a number out of range": {"version": 2**63},
    "a number no JSON has": {"facts": [{"duplicates": 2**80}]},
    "nothing where something is needed": {"status": None},
    "an object where a text is needed": {"reason": {"a": 1}},
    "facts that are none": {"facts": None},
    "a field that is missing": {},
    "a time of another form": {"sent_at": "2020-08-31T18:58:42+00:00"},
    "a time as long in another zone": {"sent_at": "2020-08-31T18:58:42+0100"},
    "a time with a space after it": {"sent_at": "2020-08-31T18:58:42.000Z "},
    "a day that is none": {"sent_at": "2020-02-31T18:58:42.000Z"},
    "an id too long for an index": {"campaign_id": "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(6_000))},
}


@pytest.mark.parametrize(("fault", "at"), [*((fault, 3) for fault in FAULTS), (PLAIN_FAULT, 0), (PLAIN_FAULT, 6)])
def test_a_state_that_is_refused_is_set_aside_and_everything_else_is_kept(
    tables: PostgresTables, reader: PostgresReader, postgres_url: str, fault: str, at: int
) -> None:
    changes = Stream().fold(*(braze(f"d{number}", "sent") for number in range(7)), NO_JSON)
    states = dict(changes.batch.states)
    bad = list(states)[at]
    states[bad] = {**states[bad], **FAULTS[fault]}  # type: ignore[typeddict-item]  # what no worker of ours writes
    if not FAULTS[fault]:
        del states[bad]["version"]  # type: ignore[misc]  # the same
    tables.write_changes(changes._replace(batch=changes.batch._replace(states=states)))

    ((table, record_id, record),) = rows_of(postgres_url, "SELECT table_name, record_id, record FROM set_aside")
    assert (table, record_id, json.loads(str(record))) == ("messages", bad, states[bad])
    assert {message["message_id"] for message in reader.messages().items} == states.keys() - {bad}
    assert len(reader.transitions_after(0).transitions) == 7
    assert rows_of(postgres_url, "SELECT count(*) FROM postbacks WHERE message_id IS NOT NULL") == [(7,)]
    assert tables.positions() == changes.positions
    assert tables.rows_set_aside == 1


def test_every_table_sets_its_own_rows_aside(tables: PostgresTables, reader: PostgresReader, postgres_url: str) -> None:
    good = Stream().fold(braze("d1", "sent"), nrs("id=1&channel=sms&event=sent&contactId=7"), NO_JSON, NO_JSON)
    batch = good.batch
    postback = batch.dead[0].record.postback._replace(content_type="a\0b")
    changes = good._replace(
        batch=batch._replace(
            transitions=[{**batch.transitions[0], "reason": "\0"}, *batch.transitions[1:]],
            receipts=[batch.receipts[0]._replace(received_at="never"), *batch.receipts[1:]],
            identifiers=[("\0", "x"), *batch.identifiers],
            dead=[batch.dead[0]._replace(record=batch.dead[0].record._replace(postback=postback)), batch.dead[1]],
        )
    )
    tables.write_changes(changes)
    aside = rows_of(postgres_url, "SELECT table_name FROM set_aside ORDER BY 1")

    assert aside == [("audit",), ("dead_letters",), ("identifiers",), ("postbacks",), ("transitions",)]
    assert len(reader.messages().items) == 2
    assert len(reader.transitions_after(0).transitions) == 1
    assert len(reader.dead().items) == 1
    assert reader.find("7")


def test_a_batch_of_nothing_but_bad_rows_is_set_aside(tables: PostgresTables, postgres_url: str) -> None:
    tables.write_changes(Stream().fold(*(braze(f"d\0{number}", "sent") for number in range(30))))

    counts = rows_of(postgres_url, "SELECT table_name, count(*) FROM set_aside GROUP BY 1 ORDER BY 1")
    assert counts == [("messages", 30), ("transitions", 30)]


def test_a_state_that_fits_again_is_no_longer_aside(
    tables: PostgresTables, reader: PostgresReader, postgres_url: str
) -> None:
    stream = Stream()
    first = stream.fold(braze("d1", "sent"))
    (message_id,) = first.batch.states
    bad: StatusRecord = {**first.batch.states[message_id], "reason": "\0"}
    tables.write_changes(first._replace(batch=first.batch._replace(states={message_id: bad})))
    assert reader.messages().items == []

    tables.write_changes(stream.fold(braze("d1", "delivered")))

    assert [message["version"] for message in reader.messages().items] == [2]
    assert rows_of(postgres_url, "SELECT * FROM set_aside") == []


def test_a_postback_that_was_set_aside_is_known_when_it_comes_again(
    tables: PostgresTables, reader: PostgresReader, postgres_url: str
) -> None:
    stream = Stream()
    first = stream.fold(braze("d1", "sent"))
    odd = [postback._replace(content_type="a\0b") for postback in postbacks_of(first)]
    changes = Stream(3).fold_again(odd)
    tables.write_changes(changes)
    tables.write_changes(stream.fold_again(odd))

    assert reader.audit_rows().counts == [("braze", HOUR, 1, 0, 0, 1)]
    assert rows_of(postgres_url, "SELECT table_name, effect FROM set_aside") == [("postbacks", "applied")]


def test_the_view_of_facts_has_a_row_for_each(tables: PostgresTables, postgres_url: str) -> None:
    tables.write_changes(Stream().fold(braze("d1", "sent"), braze("d1", "bounced", reason="550 5.1.1 no")))

    found = rows_of(
        postgres_url, "SELECT status, bounce_class, provider_time AT TIME ZONE 'UTC', duplicates FROM facts ORDER BY 1"
    )
    assert [(status, bounce_class, str(at), count) for status, bounce_class, at, count in found] == [
        ("bounced", "unknown_recipient", "2020-08-31 18:58:42", 0),
        ("sent", None, "2020-08-31 18:58:42", 0),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-62_135_596_800_000, 253_402_300_799_999), min_size=1, max_size=50))
def test_every_time_comes_back_as_it_was(both: Both, times_ms: list[int]) -> None:
    """From year 1000 on: below, `iso_ms` writes a year with fewer digits, and the row is set aside."""
    stream = Stream()
    changes = stream.fold(*(braze(f"d{number}", "sent") for number in range(len(times_ms))))
    states = {
        message_id: {**state, "sent_at": iso_ms(at)}
        for at, (message_id, state) in zip(times_ms, changes.batch.states.items(), strict=True)
    }
    both.postgres.close()
    both.writers[1].write_changes(
        Changes(changes.batch._replace(states=states, receipts=[], transitions=[]), {}, {})  # type: ignore[arg-type]  # states, in a plain dictionary
    )
    found = {message["message_id"]: message["sent_at"] for message in both.postgres.messages(limit=1000).items}
    expected = {key: state["sent_at"] for key, state in states.items() if len(str(state["sent_at"])) == 24}

    assert {key: found.get(key) for key in expected} == expected


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_every_text_comes_back_as_it_was_or_is_set_aside(
    tables: PostgresTables, reader: PostgresReader, text: str
) -> None:
    changes = Stream().fold(braze("d1", "sent"))
    ((message_id, state),) = changes.batch.states.items()
    fact = {**state["facts"][0], "reason": text, "provider_status": text}
    changed = {**state, "reason": text, "campaign_id": text, "facts": [fact]}
    before = tables.rows_set_aside
    tables.write_changes(
        Changes(NOTHING._replace(states={message_id: changed}), {}, {})  # type: ignore[dict-item]  # a state, in plain dictionaries
    )
    found = [(one["reason"], one["campaign_id"], one["facts"]) for one in reader.messages().items]

    assert tables.rows_set_aside == before + ("\0" in text)
    assert "\0" in text or found == [(text, text, [fact])]
