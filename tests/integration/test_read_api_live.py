"""The admin surface beside a working gateway: what was posted over a socket is what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ingest.auth import Source
from ingest.file_log import FileLog
from ingest.gateway import Gateway
from schemas.codec import check
from schemas.records import Audit
from sendtrace.read_side import LogView, ReadSide
from sendtrace.web import admin_app
from tests.integration.gateway_rig import PATH, QUICK, on_uvloop, post, server_of, token_digest
from tests.integration.read_api_rig import Client, serving
from tests.integration.read_rig import Plant, SystemClock, braze

SOURCE = Source(name="braze", provider="braze", token_sha256=(token_digest(),))


@asynccontextmanager
async def running(plant: Plant) -> AsyncIterator[tuple[int, Client]]:
    """A gateway that keeps postbacks in the plant's log, and the admin surface; the port of the one, the other."""
    log = FileLog(plant.paths.raw, clock=SystemClock())
    gateway = Gateway(sources=[SOURCE], log=log, limits=replace(QUICK, body_bytes=1_000), clock=SystemClock())
    side = ReadSide(
        reader=plant.reader,
        log=LogView(plant.paths.raw, durable_end=lambda: log.durable_end),
        gateway_counters=lambda: gateway.counters,
        log_stats=lambda: log.stats,
        durable_end=lambda: log.durable_end,
        processor_restarts=lambda: 0,
        processor_alive=lambda: True,
        can_keep=gateway.can_keep,
    )
    log.start()
    server = server_of(gateway)
    await server.startup()
    try:
        with serving(admin_app(side, token=None, host="127.0.0.1")) as client:
            yield server.servers[0].sockets[0].getsockname()[1], client
    finally:
        await server.shutdown()
        await log.close()


async def status(port: int, request: bytes) -> int:
    """The gateway's answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(answer.split(b" ", 2)[1])


async def scraped(client: Client) -> dict[str, float]:
    """What is not zero, by name and label."""
    text = (await asyncio.to_thread(client.get, "/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples if sample.value]
    return {
        " ".join((sample.name.removeprefix("sendtrace_"), *sample.labels.values())): sample.value for sample in samples
    }


@on_uvloop
async def test_what_was_posted_is_counted_listed_and_accounted_for(tmp_path: Path) -> None:
    bodies = [braze("d1", "sent").body, braze("d1", "sent").body, braze("d2", "bounced").body, b"no json"]
    with Plant(tmp_path) as plant:
        async with running(plant) as (port, client):
            assert [await status(port, post(body)) for body in bodies] == [200] * 4
            assert await status(port, post(b"x" * 1_001)) == 413
            assert await status(port, post(path=PATH + "x")) == 404
            plant.process()

            numbers = await scraped(client)
            account = check(Audit, (await asyncio.to_thread(client.get, "/v1/audit")).json)
            listed = (await asyncio.to_thread(client.get, "/v1/messages")).json["messages"]

    assert [message["dispatch_id"] for message in listed] == ["d2", "d1"]
    assert [account[name] for name in ("accepted", "applied", "duplicates", "dead", "pending")] == [4, 2, 1, 1, 0]
    assert account["balanced"]
    expected = {"postbacks_accepted_total braze": 4, "postbacks_kept_total braze": 4, "log_records_total": 4}
    expected |= {"requests_refused_total body_too_large": 1, "requests_refused_total not_found": 1, "can_keep": 1}
    expected |= {"requests_denied_total wrong_token": 1, "postbacks_accepted_bytes_total braze": sum(map(len, bodies))}
    expected |= {"postbacks_applied_total braze": 2, "postbacks_duplicate_total braze": 1, "postbacks_dead braze": 1}
    assert {name: numbers.get(name) for name in expected} == expected
    assert numbers["log_fsync_seconds_total"] > 0


@on_uvloop
async def test_every_account_taken_while_postbacks_come_in_adds_up(tmp_path: Path) -> None:
    accounts: list[Audit] = []
    with Plant(tmp_path) as plant:
        async with running(plant) as (port, client):
            for number in range(12):
                posts = [status(port, post(braze(f"d{number}", word).body)) for word in ("sent", "sent", "delivered")]
                answered = asyncio.gather(*posts)
                accounts.append((await asyncio.to_thread(client.get, "/v1/audit")).json)
                meanwhile = asyncio.create_task(asyncio.to_thread(client.get, "/v1/audit"))
                await asyncio.sleep(0)  # the question is on its way; it is answered in another thread
                plant.process()
                accounts.append((await meanwhile).json)
                assert await answered == [200] * 3
            plant.process()
            accounts.append((await asyncio.to_thread(client.get, "/v1/audit")).json)

    assert [account for account in accounts if not account["balanced"]] == []
    assert [accounts[-1][name] for name in ("accepted", "applied", "duplicates", "pending")] == [36, 24, 12, 0]
