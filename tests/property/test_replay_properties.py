"""Design §2.3 and the issue: splitting batches anywhere changes nothing; a replay gives byte-identical tables."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.classify import Classifier
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.receipts import ReceiptIds
from sinks.tables.sqlite_writer import SqliteTables

START_MS = 1_795_248_000_000
NORMALIZE = Normalizer(Classifier.load(None))

ids = st.sampled_from(["d1", "d2", ""])
braze = st.builds(
    lambda dispatch, send, status, minute, reason: orjson.dumps(
        {
            "dispatch_id": dispatch,
            "status": status,
            "metadata": {f"{status}_at": f"2026-11-21T10:{minute:02d}:00.000+00:00", "reason": reason}
            | ({"external_send_id": send} if send else {}),
        }
    ),
    ids,
    ids,
    st.sampled_from(["sent", "processed", "delivered", "bounced", "aborted", "paused"]),
    st.integers(0, 3),
    st.sampled_from([None, "550 5.1.1 no such user", "User not emailable"]),
)
nrs360 = st.builds(
    lambda ident, word, contact, campaign: urlencode(
        {"id": ident, "channel": "mailing", "contactId": contact, "campaignId": campaign, "event": word}
    ).encode(),
    ids,
    st.sampled_from(["sent", "delivered", "opened", "clicked", "hard_bounced", "soft_bounced", "new_word"]),
    st.sampled_from(["", "7", "8"]),
    st.sampled_from(["0", "44"]),
)
garbage = st.sampled_from([b"", b"{", b"[1]", b'{"a": NaN}', b"\xff\xfe", b"event=opened"])
bodies = st.tuples(st.just("braze"), braze | garbage) | st.tuples(st.just("nrs360"), nrs360 | garbage)
traffic = st.lists(st.tuples(bodies, st.integers(0, 25 * 60_000)), min_size=1, max_size=40)


def records(sent: list[tuple[tuple[str, bytes], int]]) -> list[LogRecord]:
    receipt_ids, now_ms, out = ReceiptIds(), START_MS, []
    for position, ((source, body), pause_ms) in enumerate(sent):
        now_ms += pause_ms
        receipt_id = f"{position:08d}-{receipt_ids.next(now_ms)[9:18]}"
        out.append(LogRecord(position * 100, Postback(source, source, KIND_POSTBACK, receipt_id, now_ms, "", "", body)))
    return out


def tables(path: Path, log: list[LogRecord], cuts: list[int], *, cached_messages: int = 20_000) -> None:
    """Handle `log` in batches that end at `cuts`, and write the tables to `path`."""
    store = SqliteTables(path)
    processor = PartitionProcessor(normalize=NORMALIZE, store=store, cached_messages=cached_messages)
    edges = sorted({0, len(log), *(cut % len(log) for cut in cuts)})
    for start, stop in pairwise(edges):
        store.commit(processor.handle(log[start:stop]), stop * 100)
    store.close()


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        return list(database.iterdump())


@settings(max_examples=40)
@given(traffic, st.lists(st.integers(0, 1000), max_size=10), st.integers(0, 3))
def test_batches_and_cache_change_nothing_and_a_replay_gives_the_same_bytes(
    sent: list[tuple[tuple[str, bytes], int]], cuts: list[int], cached_messages: int
) -> None:
    log = records(sent)
    with TemporaryDirectory() as name:
        directory = Path(name)
        tables(directory / "whole.db", log, [])
        tables(directory / "cut.db", log, cuts, cached_messages=cached_messages)
        tables(directory / "again.db", log, [])

        assert dump(directory / "cut.db") == dump(directory / "whole.db")
        assert dump(directory / "again.db") == dump(directory / "whole.db")


@settings(max_examples=40)
@given(traffic)
def test_every_postback_is_counted_once(sent: list[tuple[tuple[str, bytes], int]]) -> None:
    log = records(sent)
    with TemporaryDirectory() as name:
        path = Path(name) / "t.db"
        tables(path, log, [])
        with sqlite3.connect(path) as database:
            counts = database.execute("SELECT sum(applied), sum(duplicates), sum(dead) FROM audit").fetchone()
            effects = dict(database.execute("SELECT effect, count(*) FROM postbacks GROUP BY effect").fetchall())
            transitions, dead = (
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - two names above
                for table in ("transitions", "dead_letters")
            )

    assert sum(counts) == len(log)
    assert counts == tuple(effects.get(effect, 0) for effect in ("applied", "duplicate", "dead"))
    assert (transitions, dead) == (counts[0], counts[2])
