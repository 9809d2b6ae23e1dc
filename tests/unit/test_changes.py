"""Which receipts are news to the tables: a body may lie on the raw topic more than once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import Receipt
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.records import PostbackEffect
from sinks.tables.changes import Sorted, sort_receipts

EFFECTS: tuple[PostbackEffect, ...] = ("applied", "duplicate", "dead")


def receipt(receipt_id: str, effect: PostbackEffect) -> Receipt:
    postback = Postback("shop", "braze", KIND_POSTBACK, receipt_id, 1, "", "", b"")
    return Receipt(LogRecord(0, postback), "", None if effect == "dead" else "m", effect, ())


def told(found: Sorted) -> dict[str, list[str]]:
    lists = {name: [one.record.postback.receipt_id for one in some] for name, some in found._asdict().items()}
    return {name: some for name, some in lists.items() if some}


@pytest.mark.parametrize(
    ("known", "effect", "expected"),
    [
        (None, "applied", "new"),
        (None, "duplicate", "new"),
        (None, "dead", "new"),
        ("dead", "applied", "settled"),
        ("dead", "duplicate", "settled"),
        ("dead", "dead", "refused_again"),
        ("applied", "applied", "repeated"),
        ("applied", "duplicate", "repeated"),
        ("applied", "dead", "repeated"),
        ("duplicate", "dead", "repeated"),
    ],
)
def test_what_a_receipt_is_follows_from_what_is_known(
    known: PostbackEffect | None, effect: PostbackEffect, expected: str
) -> None:
    assert told(sort_receipts([receipt("r", effect)], {} if known is None else {"r": known})) == {expected: ["r"]}


def test_a_receipt_knows_those_before_it_in_the_same_batch() -> None:
    effects: list[PostbackEffect] = ["dead", "dead", "applied", "dead", "duplicate"]

    found = sort_receipts([receipt("r", effect) for effect in effects], {})

    assert {name: len(some) for name, some in found._asdict().items()} == {
        "new": 1,
        "refused_again": 1,
        "settled": 1,
        "repeated": 2,
    }
    assert [one.effect for one in found.settled] == ["applied"]


def test_what_is_known_is_left_as_it_was() -> None:
    known: dict[str, PostbackEffect] = {"r": "dead"}
    sort_receipts([receipt("r", "applied"), receipt("s", "applied")], known)

    assert known == {"r": "dead"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(EFFECTS))), st.data())
def test_splitting_batches_changes_nothing(sent: list[tuple[str, PostbackEffect]], data: st.DataObject) -> None:
    """What one batch gives is what two give, the second knowing what the first left behind."""
    receipts = [receipt(*one) for one in sent]
    cut = data.draw(st.integers(0, len(receipts)))
    whole = sort_receipts(receipts, {})
    first = sort_receipts(receipts[:cut], {})
    known = {one.record.postback.receipt_id: one.effect for one in (*first.new, *first.settled)}
    second = sort_receipts(receipts[cut:], known)

    assert whole == Sorted(*(a + b for a, b in zip(first, second, strict=True)))
    assert Counter(map(id, receipts)) == Counter(id(one) for some in whole for one in some)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(EFFECTS))))
def test_a_body_is_new_once_and_settled_at_most_once(sent: list[tuple[str, PostbackEffect]]) -> None:
    found = sort_receipts([receipt(*one) for one in sent], {})

    new = [one.record.postback.receipt_id for one in found.new]
    settled = [one.record.postback.receipt_id for one in found.settled]
    assert sorted(new) == sorted({receipt_id for receipt_id, _ in sent})
    assert len(settled) == len(set(settled))
