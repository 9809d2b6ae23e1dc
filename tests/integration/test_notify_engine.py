"""The engine with real tables and servers, its clock fifty times as fast: each target by itself, at least once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from schemas.incidents import IncidentChange
from sendtrace.clock import SystemClock
from sinks.notifications.engine import Notifier, Target
from sinks.notifications.guard import Policy
from sinks.notifications.guarded_http import Transport
from sinks.notifications.routing import Labels
from sinks.notifications.sqlite_store import SqliteNotifications
from sinks.notifications.targets.webhook import Webhook
from sinks.notifications.words import Links
from sinks.tables.asking import asking_sqlite
from sinks.tables.sqlite_writer import SqliteTables
from tests.integration.notify_tables_rig import StandIn, answering, put_change, standing_in
from tests.unit.notify_rig import LINKS_URL, NOW_MS, change

_FASTER = 50
_BEGAN_S = SystemClock().monotonic_s()
_POLICY = Policy(("http",), (ip_network("127.0.0.1/32"),))


class FastClock:
    """Fifty seconds in one, the same for all."""

    def now_ms(self) -> int:
        return NOW_MS + round(1000 * _FASTER * (self.monotonic_s() - _BEGAN_S))

    def monotonic_s(self) -> float:
        return SystemClock().monotonic_s()


class Rig:
    """Tables, and a notifier that works on them."""

    def __init__(self, path: Path, targets: Sequence[Target]) -> None:
        self._path = path
        self.notifier = Notifier(targets, open_store=lambda: SqliteNotifications(path), clock=FastClock(), poll_s=0.01)

    def put(self, *changes: IncidentChange) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            for each in changes:
                put_change(asking_sqlite(db), each, made_ms=FastClock().now_ms())

    def asked(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path)) as db:
            return db.execute(sql).fetchall()

    async def until(self, sql: str, expected: list[tuple[Any, ...]]) -> None:
        for _ in range(1_000):
            if self.asked(sql) == expected:
                return
            await asyncio.sleep(0.01)
        assert self.asked(sql) == expected


def target(name: str, stand_in: StandIn, *, horizon_ms: int = 86_400_000) -> Target:
    hook = Webhook(
        url=f"{stand_in.url}/{name}",
        secrets=[],
        bearer_token=None,
        transport=Transport(_POLICY, timeout_s=2.0),
        links=Links(LINKS_URL),
    )
    return Target(name, Labels(), hook, horizon_ms)


@asynccontextmanager
async def notifying(path: Path, *targets: Target) -> AsyncIterator[Rig]:
    rig = Rig(path, targets)
    working = asyncio.ensure_future(rig.notifier.run())
    await rig_ready(rig)
    try:
        yield rig
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def rig_ready(rig: Rig) -> None:
    for _ in range(500):
        if rig.notifier.stats.trouble is None:
            return
        await asyncio.sleep(0.01)
    pytest.fail(str(rig.notifier.stats.trouble))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SqliteTables(tmp_path / "tables.db").close()
    return tmp_path / "tables.db"


async def _never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def test_a_target_that_does_not_answer_delays_no_other(path: Path) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/dead"] = _never
        async with notifying(path, target("dead", stand_in), target("well", stand_in)) as rig:
            rig.put(change("opened"))
            await rig.until("SELECT state FROM deliveries WHERE target = 'well'", [("delivered",)])

            assert rig.asked("SELECT state FROM deliveries WHERE target = 'dead'") == [("waiting",)]


async def test_it_is_tried_again_under_the_same_id_until_it_is_taken(path: Path) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/ops"] = answering(503, headers={"Retry-After": "20"})
        async with notifying(path, target("ops", stand_in)) as rig:
            rig.put(change("opened"))
            await stand_in.wait_for(2)
            stand_in.answers.clear()
            await rig.until(
                "SELECT state, attempts >= 3, answer FROM notification_messages", [("delivered", 1, "200 taken")]
            )
            rig.put(change("resolved"))
            await rig.until(
                "SELECT change, state FROM deliveries ORDER BY seq",
                [("opened", "delivered"), ("resolved", "delivered")],
            )

    ids = [asked.headers["webhook-id"] for asked in stand_in.asked]
    assert len(set(ids)) == 2
    assert len(set(ids[:-1])) == 1


async def test_it_is_parked_after_its_horizon(path: Path) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/ops"] = answering(500, text="broken\nmore")
        async with notifying(path, target("ops", stand_in, horizon_ms=30_000)) as rig:
            rig.put(change("opened"))
            await rig.until("SELECT state, reason FROM deliveries", [("parked", "500 broken")])

            assert rig.notifier.stats.parked == {"ops": 1}
            assert rig.notifier.stats.failed["ops"] >= 2


async def test_a_lasting_refusal_is_parked_at_once_and_the_next_one_goes(path: Path) -> None:
    async with standing_in() as stand_in:
        stand_in.answers["/ops"] = answering(410)
        async with notifying(path, target("ops", stand_in)) as rig:
            rig.put(change("opened"))
            await rig.until("SELECT state, reason FROM deliveries", [("parked", "410")])
            stand_in.answers.clear()
            rig.put(change("opened", "i2"), change("resolved"))
            await rig.until(
                "SELECT incident_id, change, state FROM deliveries ORDER BY seq",
                [("i1", "opened", "parked"), ("i2", "opened", "delivered"), ("i1", "resolved", "dropped")],
            )


async def test_a_fault_of_ours_with_one_target_stops_no_other(path: Path) -> None:
    class Faulty(Webhook):
        async def send(self, message: object, now_ms: int) -> Any:  # noqa: ANN401  it never does
            raise RuntimeError(f"{message} {now_ms}")

    async with standing_in() as stand_in:
        well = target("well", stand_in)
        bad = Faulty(url="", secrets=[], bearer_token=None, transport=Transport(_POLICY, timeout_s=1), links=Links(""))
        async with notifying(path, Target("bad", Labels(), bad), well) as rig:
            rig.put(change("opened"))
            await rig.until("SELECT state FROM deliveries WHERE target = 'well'", [("delivered",)])
            await rig.until(
                "SELECT answer FROM notification_messages WHERE target = 'bad'", [("RuntimeError while it was sent",)]
            )


async def test_a_restart_tells_nothing_again(path: Path) -> None:
    async with standing_in() as stand_in:
        async with notifying(path, target("ops", stand_in)) as rig:
            rig.put(change("opened"))
            await rig.until("SELECT state FROM deliveries", [("delivered",)])
        async with notifying(path, target("ops", stand_in), target("new", stand_in)) as rig:
            rig.put(change("opened", "i2"))
            await rig.until("SELECT count(*) FROM deliveries WHERE state = 'delivered'", [(3,)])

    assert sorted(asked.path for asked in stand_in.asked) == ["/new", "/ops", "/ops"]


async def test_tables_that_come_later_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    async with standing_in() as stand_in:
        rig = Rig(path, [target("ops", stand_in)])
        working = asyncio.ensure_future(rig.notifier.run())
        while "the tables are not made yet" not in str(rig.notifier.stats.trouble):  # noqa: ASYNC110  it is a number, not an event
            await asyncio.sleep(0.01)
        await asyncio.to_thread(lambda: SqliteTables(path).close())
        await rig_ready(rig)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
