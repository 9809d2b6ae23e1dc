"""`sendtrace sink notifications`: ready while it has its tables, one at a time, told in metrics."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession

from sendtrace.metrics import NOTIFICATIONS
from sendtrace.notify_role import serving
from sendtrace.processor_loop import AlreadyRunningError
from sendtrace.settings import Settings, load
from sinks.tables.postgres_writer import PostgresTables
from sinks.tables.sqlite_writer import SqliteTables

TARGET = {"kind": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"}


def settings(directory: Path, **more: object) -> Settings:
    table = {
        "notifications": {"targets": {"pager": TARGET}},
        "storage": {"directory": str(directory)},
        "admin": {"port": 0},
        **more,
    }
    return load(None, overrides=table, takes_postbacks=False)


async def ready(admin_url: str) -> str:
    """What `/metrics` says once `/readyz` says yes."""
    async with asyncio.timeout(20), ClientSession() as session:
        while True:
            async with session.get(f"{admin_url}/readyz") as answer:
                found = await answer.json()
            if answer.status == 200:
                break
            assert found["trouble"] is not None
            await asyncio.sleep(0.05)
        async with session.get(f"{admin_url}/metrics") as answer:
            return await answer.text()


async def test_it_waits_for_its_tables_and_is_ready_then(tmp_path: Path) -> None:
    async with serving(settings(tmp_path), notice=print) as (admin_url, _working):
        async with ClientSession() as session, session.get(f"{admin_url}/readyz") as answer:
            assert answer.status == 503
        SqliteTables(tmp_path / "tables.db").close()
        metrics = await ready(admin_url)

    assert all(f"# HELP {metric.name} " in metrics for metric in NOTIFICATIONS)
    assert 'sendtrace_notifications_delivered_total{target="pager"} 0.0' in metrics


async def test_one_at_a_time_tells_of_a_directory(tmp_path: Path) -> None:
    SqliteTables(tmp_path / "tables.db").close()
    async with serving(settings(tmp_path), notice=print):
        with pytest.raises(AlreadyRunningError, match="another sendtrace tells people"):
            async with serving(settings(tmp_path), notice=print):
                pass


async def test_on_postgres_it_keeps_nothing_on_this_machine(tmp_path: Path, postgres_url: str) -> None:
    PostgresTables(postgres_url).close()
    directory = tmp_path / "none"
    async with serving(settings(directory, tables={"postgres": postgres_url}), notice=print) as (admin_url, _working):
        await ready(admin_url)

    assert not directory.exists()
