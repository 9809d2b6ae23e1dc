"""Killed after a target had the message and before that was marked: it comes again under the same id, and only then."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from standardwebhooks import Webhook as Verifier

from sendtrace.clock import SystemClock
from sinks.tables.asking import asking_sqlite
from tests.e2e.program import environment
from tests.integration.notify_tables_rig import put_change, standing_in
from tests.unit.notify_rig import change

SECRET = "whsec_" + "A" * 43 + "="
SETTINGS = f"""
[sources.braze]
provider = "braze"
token_sha256 = ["{"0" * 64}"]
[notifications.targets.ops]
kind = "webhook"
url = "%s/ops"
secrets = ["{SECRET}"]
schemes = ["http"]
allow_networks = ["127.0.0.0/8"]
"""


def child_of(pid: int, module: str) -> int:
    """The pid of the child that runs a module of ours."""
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if module in Path(f"/proc/{each}/cmdline").read_text():
            return int(each)
    pytest.fail(f"{pid} has no child that runs {module}")


def put(tables: Path) -> None:
    clock = SystemClock()
    with closing(sqlite3.connect(tables, timeout=10, isolation_level=None)) as db:
        put_change(asking_sqlite(db), change("opened", at_ms=clock.now_ms()), made_ms=clock.now_ms())


@asynccontextmanager
async def running_up(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    words = ("up", "--config", "s.toml", "--data", "d", "--port", "0", "--admin-port", "0")
    up = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sendtrace", *words),
        cwd=directory,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield up
    finally:
        if up.returncode is None:
            up.kill()
            await up.wait()


async def until_made(tables: Path) -> None:
    """The processor makes them, a moment after `ready`."""
    async with asyncio.timeout(20):
        while not (tables.is_file() and has_changes(tables)):  # noqa: ASYNC110  another process
            await asyncio.sleep(0.05)


def has_changes(tables: Path) -> bool:
    with closing(sqlite3.connect(tables, timeout=10)) as db:
        return bool(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'deliveries'").fetchone()[0])


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():  # noqa: ASYNC110  another process
            await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
async def test_kill_between_delivery_and_mark(tmp_path: Path) -> None:
    async with standing_in() as stand_in:
        (tmp_path / "s.toml").write_text(SETTINGS % stand_in.url)
        async with running_up(tmp_path) as up:
            assert up.stdout is not None
            ready = (await up.stdout.readline()).decode()
            killed: list[int] = []

            async def kill(_request: web.Request) -> web.StreamResponse:
                if not killed:
                    killed.append(child_of(up.pid, "sendtrace.notify_process"))
                    os.kill(killed[0], signal.SIGKILL)
                return web.Response(text="taken")

            stand_in.answers["/ops"] = kill
            await until_made(tmp_path / "d" / "tables.db")
            put(tmp_path / "d" / "tables.db")
            first, second = (await stand_in.wait_for(2, within_s=40))[:2]

            child = child_of(up.pid, "sendtrace.notify_process")
            metrics = await delivered(ready.split()[3])
            up.kill()
            await up.wait()
            await until_gone(child)

    assert killed != [child]
    assert metrics == 'sendtrace_notifications_delivered_total{target="ops"} 1.0'
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    Verifier(SECRET).verify(second.body, second.headers)
    with closing(sqlite3.connect(tmp_path / "d" / "tables.db")) as db:
        assert db.execute("SELECT state, attempts FROM notification_messages").fetchall() == [("delivered", 1)]
    assert len(stand_in.asked) == 2


async def delivered(admin_url: str) -> str:
    """The metric, once the child has said it."""
    line = ""
    async with asyncio.timeout(10), ClientSession() as session:
        while not line.endswith("1.0"):
            async with session.get(f"{admin_url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            line = next((line for line in lines if line.startswith("sendtrace_notifications_delivered_total")), "")
            await asyncio.sleep(0.05)
    return line
