"""What a batch changed as rows of the Postgres tables, inside the transaction of whoever calls.

New rows go straight into their table by COPY; states, of which most have a row, go by COPY into a
temporary table and from there into theirs in one statement. Rows that are refused are set aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

import orjson

from schemas.batch import Batch, DeadLetter, Receipt
from schemas.records import PostbackEffect, StatusRecord, Transition
from schemas.times import hour_of
from sinks.tables.changes import Sorted, sort_receipts
from sinks.tables.postgres_connect import Connection, Row
from sinks.tables.postgres_partitions import make_for
from sinks.tables.postgres_personal import personal_aside, put_personal
from sinks.tables.postgres_refused import Aside, escaped, keep
from sinks.tables.postgres_rows import (
    DEAD_LETTER_COLUMNS,
    POSTBACK_COLUMNS,
    STATE_COLUMNS,
    TRANSITION_COLUMNS,
    check_times,
    dead_letter_row,
    postback_row,
    state_row,
    state_times,
    transition_row,
    transition_times,
)
from sinks.tables.postgres_search import can_be_asked

#: Once a session, after the migrations.
STAGING: Final = "CREATE TEMPORARY TABLE incoming_messages (LIKE messages) ON COMMIT DELETE ROWS"

#: Who a message is, is written once.
_IDENTITY: Final = {"message_id", "source", "provider", "dispatch_id", "external_send_id"}
_STATE: Final = ", ".join(STATE_COLUMNS)
COPY_STATES: Final = f"COPY incoming_messages (seq, {_STATE}) FROM STDIN"
#: A new message gets the next number, in order of first mention. Looking each one up in a subquery keeps the
#: planner, which knows nothing of a temporary table, from reading all messages for a batch of some thousands.
MERGE_STATES: Final = f"""
INSERT INTO messages (seq, {_STATE})
SELECT coalesce(new.known, top.seq + row_number() OVER (PARTITION BY new.known IS NULL ORDER BY new.seq)), {_STATE}
FROM (SELECT i.*, (SELECT m.seq FROM messages AS m WHERE m.message_id = i.message_id) AS known
      FROM incoming_messages AS i) AS new,
     (SELECT coalesce(max(seq), 0) AS seq FROM messages) AS top
ON CONFLICT (message_id)
DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in STATE_COLUMNS if name not in _IDENTITY)}
"""  # noqa: S608  columns of our own
_FITS_NOW: Final = (
    "DELETE FROM set_aside AS s USING incoming_messages AS i "
    "WHERE s.table_name = 'messages' AND s.record_id = i.message_id"
)
_LAST_TRANSITION: Final = (
    "SELECT greatest((SELECT max(seq) FROM transitions), (SELECT last_seq FROM transitions_dropped), 0)"
)
COPY_TRANSITIONS: Final = f"COPY transitions (seq, {', '.join(TRANSITION_COLUMNS)}) FROM STDIN"
COPY_POSTBACKS: Final = f"COPY postbacks ({', '.join(POSTBACK_COLUMNS)}) FROM STDIN"
_NAME: Final = "INSERT INTO identifiers SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
#: Some thousand ids as one text of JSON: psycopg takes its time over an array of as many.
_EFFECTS: Final = (
    "SELECT receipt_id, effect FROM postbacks WHERE receipt_id = ANY(ARRAY(SELECT jsonb_array_elements_text(%s)))"
)
_ANY_ASIDE: Final = "SELECT FROM set_aside WHERE table_name = 'postbacks' LIMIT 1"
_EFFECTS_ASIDE: Final = "SELECT record_id, effect FROM set_aside WHERE table_name = 'postbacks' AND record_id = ANY(%s)"
_SETTLE: Final = "UPDATE postbacks SET message_id = %s, effect = %s, flags = %s WHERE receipt_id = %s"
_SETTLE_ASIDE: Final = "UPDATE set_aside SET effect = %s WHERE table_name = 'postbacks' AND record_id = %s"
_DEAD: Final = (
    f"INSERT INTO dead_letters ({', '.join(DEAD_LETTER_COLUMNS)}) "  # noqa: S608  columns of our own
    f"VALUES ({', '.join(['%s'] * len(DEAD_LETTER_COLUMNS))}) ON CONFLICT (dead_id) DO UPDATE SET "
    "stage = excluded.stage, reason = excluded.reason, detail = excluded.detail, retry_requested_at = NULL "
    "WHERE dead_letters.retried_at IS NULL"
)
#: A dead letter may come after the receipt that says what a retry made of it: its topic is another.
_SETTLE_DEAD: Final = (
    "UPDATE dead_letters AS d SET retried_at = date_trunc('milliseconds', now()), retry_requested_at = NULL "
    "WHERE d.dead_id = ANY(%s) AND d.retried_at IS NULL "
    "AND EXISTS (SELECT FROM postbacks AS p WHERE p.receipt_id = d.receipt_id AND p.effect <> 'dead')"
)
_COUNTED: Final = ("accepted", "applied", "duplicates", "dead", "repeated")
_COUNT: Final = (
    f"INSERT INTO audit (source, hour, {', '.join(_COUNTED)}) VALUES (%s, %s, %s, %s, %s, %s, %s) "  # noqa: S608  our names
    "ON CONFLICT (source, hour) DO UPDATE SET "
    + ", ".join(f"{name} = audit.{name} + excluded.{name}" for name in _COUNTED)
)
_COLUMN_OF: Final[dict[PostbackEffect, str]] = {"applied": "applied", "duplicate": "duplicates", "dead": "dead"}


class _Count(NamedTuple):
    """What is added to one row of `audit`."""

    source: str
    hour: str
    added: Mapping[str, int]


def write_batch(db: Connection, batch: Batch, accepted: Mapping[tuple[str, str], int]) -> int:
    """Everything a batch changed, and the counts; returns how many rows were set aside. Raises `psycopg.Error`."""
    found = sort_receipts(batch.receipts, _effects(db, batch.receipts))
    refused = _keep_states(db, list(batch.states.values()))
    refused += _keep_transitions(db, batch.transitions)
    refused += keep(db, "identifiers", batch.identifiers, lambda some: _put_names(db, some), _name_aside)
    refused += keep(db, "personal_data", batch.personal, lambda some: put_personal(db, some), personal_aside)
    refused += _keep_receipts(db, found)
    refused += _keep_dead(db, batch.dead, found.settled)
    counts = _counts(found, accepted)
    return refused + keep(db, "audit", counts, lambda some: _put_counts(db, some), _count_aside)


def _effects(db: Connection, receipts: Sequence[Receipt]) -> dict[str, PostbackEffect]:
    """Of those whose receipt is known: it has a row, or was set aside."""
    if not receipts:
        return {}
    ids = [_receipt_id(receipt) for receipt in receipts]
    asked = orjson.dumps(list(filter(can_be_asked, ids))).decode()
    found: dict[str, PostbackEffect] = dict(db.execute(_EFFECTS, (asked,)).fetchall())
    if db.execute(_ANY_ASIDE).fetchone() is not None:
        by_key = {escaped(receipt_id): receipt_id for receipt_id in ids}
        found |= {by_key[key]: effect for key, effect in db.execute(_EFFECTS_ASIDE, (list(by_key),))}
    return found


def _keep_states(db: Connection, states: Sequence[StatusRecord]) -> int:
    numbered = list(enumerate(states))

    def put(some: Sequence[tuple[int, StatusRecord]]) -> None:
        if len(some) < len(numbered):  # tried before, by halves: what went well is still there
            db.execute("TRUNCATE incoming_messages")
        check_times(chain.from_iterable(state_times(state) for _, state in some))
        _copy(db, COPY_STATES, ((number, *state_row(state)) for number, state in some))
        db.execute(MERGE_STATES)
        db.execute(_FITS_NOW)

    return keep(db, "messages", numbered, put, lambda one: Aside(str(one[1].get("message_id")), one[1]))


def _keep_transitions(db: Connection, transitions: Sequence[Transition]) -> int:
    if not transitions:
        return 0
    make_for(db, {transition.get("received_at") for transition in transitions})
    (last,) = db.execute(_LAST_TRANSITION).fetchone() or (0,)
    numbered = list(enumerate(transitions, start=last + 1))

    def put(some: Sequence[tuple[int, Transition]]) -> None:
        check_times(chain.from_iterable(transition_times(transition) for _, transition in some))
        _copy(db, COPY_TRANSITIONS, ((number, *transition_row(transition)) for number, transition in some))

    return keep(db, "transitions", numbered, put, lambda one: Aside(str(one[1].get("transition_id")), one[1]))


def _keep_receipts(db: Connection, found: Sorted) -> int:
    def put(some: Sequence[Receipt]) -> None:
        check_times(receipt.received_at for receipt in some)
        _copy(db, COPY_POSTBACKS, map(postback_row, some))

    refused = keep(db, "postbacks", found.new, put, _receipt_aside)
    for receipt in found.settled:
        receipt_id, effect = _receipt_id(receipt), receipt.effect
        if can_be_asked(receipt_id):
            db.execute(_SETTLE, (receipt.message_id, effect, orjson.dumps(receipt.flags).decode(), receipt_id))
        db.execute(_SETTLE_ASIDE, (effect, escaped(receipt_id)))
    return refused


def _keep_dead(db: Connection, letters: Sequence[DeadLetter], settled: Sequence[Receipt]) -> int:
    """Those that are there already were refused again, unless a retry applied them since."""

    def put(some: Sequence[DeadLetter]) -> None:
        check_times(dead.received_at for dead in some)
        db.cursor().executemany(_DEAD, list(map(dead_letter_row, some)))

    refused = keep(db, "dead_letters", letters, put, _dead_aside)
    concerned = [*(dead.record.postback.receipt_id for dead in letters), *map(_receipt_id, settled)]
    if concerned:
        db.execute(_SETTLE_DEAD, (list(filter(can_be_asked, concerned)),))
    return refused


def _put_names(db: Connection, names: Sequence[tuple[str, str]]) -> None:
    db.execute(_NAME, ([identifier for identifier, _ in names], [message_id for _, message_id in names]))


def _put_counts(db: Connection, counts: Sequence[_Count]) -> None:
    check_times(one.hour for one in counts)
    rows = [(one.source, one.hour, *(one.added.get(name, 0) for name in _COUNTED)) for one in counts]
    db.cursor().executemany(_COUNT, rows)


def _counts(found: Sorted, accepted: Mapping[tuple[str, str], int]) -> list[_Count]:
    """Each body once, by what became of it in the end; each further record of it as a repeat."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    for (source, hour), count in accepted.items():
        rows.setdefault((source, hour), Counter())["accepted"] += count
    _add(rows, (*found.new, *found.settled), lambda effect: _COLUMN_OF[effect])
    _add(rows, (*found.settled, *found.refused_again, *found.repeated), lambda _: "repeated")
    _add(rows, found.settled, lambda _: "dead", times=-1)
    return [_Count(source, hour, added) for (source, hour), added in rows.items()]


def _add(
    rows: dict[tuple[str, str], Counter[str]],
    receipts: Sequence[Receipt],
    column: Callable[[PostbackEffect], str],
    *,
    times: int = 1,
) -> None:
    alike = Counter((one.record.postback.source, one.received_at[:13], one.effect) for one in receipts)
    for (source, hour, effect), count in alike.items():
        rows.setdefault((source, hour_of(hour)), Counter())[column(effect)] += times * count


def _copy(db: Connection, statement: str, rows: Iterable[Row]) -> None:
    with db.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _receipt_id(receipt: Receipt) -> str:
    return receipt.record.postback.receipt_id


def _receipt_aside(receipt: Receipt) -> Aside:
    record = dict(
        zip(POSTBACK_COLUMNS, (receipt.record.position, _receipt_id(receipt), receipt.message_id), strict=False)
    )
    rest = {"received_at": receipt.received_at, "content_type": receipt.record.postback.content_type}
    return Aside(
        _receipt_id(receipt), {**record, **rest, "effect": receipt.effect, "flags": receipt.flags}, receipt.effect
    )


def _dead_aside(dead: DeadLetter) -> Aside:
    position, postback = dead.record
    record = {**postback._asdict(), "position": position, "received_at": dead.received_at, "stage": dead.stage}
    return Aside(postback.receipt_id, {**record, "reason": dead.rejected.reason.value, "detail": dead.rejected.detail})


def _name_aside(name: tuple[str, str]) -> Aside:
    return Aside("\n".join(name), name)


def _count_aside(count: _Count) -> Aside:
    return Aside(f"{count.source}\n{count.hour}", count._asdict())
