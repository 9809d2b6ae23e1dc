"""Promises 1 and 2 of design §2 under `kill -9`: every 200 is in the tables exactly once, and all adds up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.kill_rig import Ledger, Sendtrace, under_load

KILLS = int(os.environ.get("SENDTRACE_KILLS", "21"))
SEED = int(os.environ.get("SENDTRACE_SEED", time.time_ns() % 1_000_000))
SENDERS = 24


@pytest.mark.timeout(60 + 6 * KILLS)
async def test_kill_9_at_random_instants_loses_nothing_and_invents_nothing(tmp_path: Path) -> None:
    print(f"SENDTRACE_SEED={SEED}")  # noqa: T201 (shown when it fails, to run the same plan again)
    product = Sendtrace(tmp_path)
    await product.start()

    async with under_load(product, SEED, senders=SENDERS) as ledger:
        await kill_often(product, random.Random(SEED))
        await asyncio.sleep(0.5)
    await product.caught_up(60)

    assert await product.stop() == 0
    check(product, ledger)


async def kill_often(product: Sendtrace, rng: random.Random) -> None:
    """All at once, the gateway alone and the processor alone in turn, each at a random instant of its life."""
    for number in range(KILLS):
        await asyncio.sleep(rng.uniform(0.0, 0.9))
        match number % 3:
            case 0:
                await product.kill_all()
                await product.start()
            case 1:
                await product.kill_gateway()
                await product.start()
            case _:
                product.kill_processor()


def check(product: Sendtrace, ledger: Ledger) -> None:
    """Hold the tables to what the senders were told."""
    with contextlib.closing(product.tables()) as database:
        rows = database.execute("SELECT message_id, fact_id FROM facts").fetchall()
        transitions = Counter(database.execute("SELECT transition_id FROM transitions").fetchall())
        receipts = Counter(database.execute("SELECT receipt_id FROM postbacks").fetchall())
        bodies = database.execute("SELECT sum(1 + duplicates) FROM facts").fetchone()[0]
    facts = Counter(rows)
    told = set(ledger.kept) | set(ledger.unsure)

    assert len(ledger.kept) > 1_000, "too little load to prove anything"
    assert ledger.refused == {}
    assert set(ledger.kept) - set(facts) == set(), "answered 200 and lost"
    assert set(facts) - told == set(), "never sent"
    assert max(facts.values()) == max(transitions.values()) == max(receipts.values()) == 1
    assert {(f"{message}-{fact}",) for message, fact in facts} == set(transitions)
    assert sum(ledger.kept.values()) <= bodies <= sum(ledger.kept.values()) + sum(ledger.unsure.values())
    account = product.account()
    assert account["balanced"]
    assert (account["accepted"], account["pending"]) == (bodies, 0)
