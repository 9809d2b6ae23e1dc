"""Everything that reads, on tables that the sink wrote: commands, read API, page; and the two roles as programs."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from schemas.event import Rejected
from schemas.postback import Postback
from schemas.rejections import RejectReason
from sendtrace.init_config import write_initial
from tests.e2e.program import Program, environment, running
from tests.e2e.up_rig import request
from tests.integration.kafka_tables_rig import Feeder, Sink, everything, feeding, make_topics, rows, until
from tests.integration.read_rig import Sent, braze
from tests.kafka.kafka_rig import Kafka
from tests.unit.cli_rig import Ran, Shell

BROKEN = Sent(b"{\x9c")


class Station:
    """A data directory with settings for Kafka, and a shell in it."""

    def __init__(self, shell: Shell, feeder: Feeder, sink: Sink, settings: Mapping[str, str]) -> None:
        self.feeder = feeder
        self.sink = sink
        self.settings = settings
        self.directory = shell.directory
        self._shell = shell

    async def run(self, command: str) -> Ran:
        """A command, as somebody types it; it has no event loop of its own around it."""
        return await asyncio.to_thread(self._shell, command)

    async def fold(self, *sent: Sent) -> list[str]:
        """Bodies that are in the tables when it returns; their receipt ids."""
        postbacks = await self.feeder.keep(*sent)
        await self.feeder.handle()
        async with self.sink.running():
            await self.sink.has(len(rows(self.feeder.expected_path, "SELECT 1 FROM postbacks")))
        return [postback.receipt_id for postback in postbacks]

    def program(self, stack: ExitStack, *arguments: str) -> Program:
        """`sendtrace ARGUMENTS` as a process, with these settings."""
        env = environment(**self.settings)
        return stack.enter_context(running(*arguments, "--admin-port", "0", cwd=self.directory, env=env))


@pytest.fixture
async def station(
    kafka: Kafka,
    topic_prefix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Station]:
    settings = {"SENDTRACE_KAFKA": kafka.address, "SENDTRACE_KAFKA__TOPIC_PREFIX": topic_prefix}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    write_initial(tmp_path / "sendtrace.toml")
    data = tmp_path / "sendtrace-data"
    data.mkdir()
    await make_topics(kafka.address, topic_prefix)
    async with feeding(kafka.address, topic_prefix, tmp_path) as feeder:
        yield Station(Shell(tmp_path, capsys), feeder, Sink(kafka.address, topic_prefix, data / "tables.db"), settings)


async def test_show_has_the_exact_bodies_from_the_raw_topic(station: Station) -> None:
    sent = [braze("d1", "sent"), braze("d2", "sent"), braze("d1", "bounced", reason="550 5.1.1 No")]
    await station.fold(*sent, sent[0])

    ran = await station.run("show d1")
    assert ran.lines[0] == "d1  bounced (failed)"
    detail = json.loads((await station.run("show d1 --json")).out)
    bodies = [base64.b64decode(postback["body_base64"]) for postback in detail["postbacks"]]
    assert bodies == [sent[0].body, sent[2].body, sent[0].body]
    assert [postback["effect"] for postback in detail["postbacks"]] == ["applied", "applied", "duplicate"]


async def test_show_without_a_broker_shows_all_but_the_bodies(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    await station.fold(braze("d1", "sent"))
    monkeypatch.setenv("SENDTRACE_KAFKA", "127.0.0.1:1")

    detail = json.loads((await station.run("show d1 --json")).out)
    assert [postback["body_base64"] for postback in detail["postbacks"]] == [None]
    assert (await station.run("show d1")).lines[0] == "d1  sent (pending)"


async def test_audit_counts_the_raw_topic(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    await station.fold(braze("d1", "sent"), braze("d1", "sent"), BROKEN)
    await station.feeder.keep(braze("d2", "sent"))

    ran = await station.run("audit")
    assert ran.lines[-1] == "balanced: 4 accepted = 1 applied + 1 duplicates + 1 dead + 1 pending"
    assert ran.code == 0
    monkeypatch.setenv("SENDTRACE_KAFKA", "127.0.0.1:1")
    ran = await station.run("audit")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "sendtrace: what is pending cannot be counted: 127.0.0.1:1: no broker answers\n"


async def test_dead_letters_are_listed_and_shown(station: Station) -> None:
    _, dead_id = await station.fold(braze("d1", "sent"), BROKEN)

    assert (await station.run("dead list")).lines[0].startswith(f"{dead_id}  ")
    assert r"{\x9c" in (await station.run(f"dead show {dead_id}")).out


def nothing_is_understood(_postback: Postback) -> Rejected:
    return Rejected(RejectReason.WRONG_TYPE, "Not to this version.")


async def test_dead_retry_sends_the_exact_body_again_and_tells_what_came_of_it(station: Station) -> None:
    feeder, sink = station.feeder, station.sink
    sent = await feeder.keep(*[braze(f"d{number}", "sent") for number in range(4)], BROKEN)
    await feeder.handle(normalize=nothing_is_understood)
    async with sink.running():
        await sink.has(5, "dead_letters")
        retrying = asyncio.ensure_future(station.run(f"dead retry {sent[0].receipt_id}"))
        await fetched(feeder, 1)
        await feeder.handle()
        assert (await retrying)[:2] == (0, "1 applied\n")
        again = await station.run(f"dead retry {sent[0].receipt_id}")
        assert again.err == f"sendtrace: {sent[0].receipt_id} was applied by a retry already\n"

        retrying = asyncio.ensure_future(station.run("dead retry --reason wrong_type"))
        await fetched(feeder, 4)
        await feeder.handle()
        assert (await retrying)[:2] == (1, "3 applied, 1 refused again, `sendtrace dead list` says why\n")

    assert (await station.run("audit")).lines[-1].startswith("balanced: 5 accepted = 4 applied + 0 duplicates + 1 dead")
    assert "invalid_json" in (await station.run("dead list")).out
    assert (await station.run("dead retry --reason wrong_type"))[:2] == (0, "nothing to retry\n")
    assert (await station.run("dead retry nobody")).err.startswith("sendtrace: there is no dead letter nobody")
    assert (await station.run("show d3")).lines[0] == "d3  sent (pending)"


async def fetched(feeder: Feeder, count: int) -> None:
    """Wait until somebody put so many records onto the raw topic; they are to be handled then."""
    async with asyncio.timeout(20):
        while count > 0:
            count -= await feeder.look()
    assert count == 0


async def test_tail_tells_what_comes(station: Station) -> None:
    await station.fold(braze("d1", "sent"))
    with ExitStack() as stack:
        env = environment(**station.settings)
        tail = stack.enter_context(running("tail", "--from-start", cwd=station.directory, env=env))
        await asyncio.to_thread(tail.wait_for, "new → sent")
        await station.fold(braze("d1", "bounced"))
        await asyncio.to_thread(tail.wait_for, "sent → bounced")


async def test_a_data_directory_of_up_is_read_as_such(station: Station) -> None:
    await station.fold(braze("d1", "sent"))
    (station.directory / "sendtrace-data" / "raw").mkdir()

    ran = await station.run("audit")
    assert ran.lines[-1] == "NOT BALANCED: 0 accepted, but 1 applied + 0 duplicates + 0 dead + 0 pending: 1 too many"
    assert "is one of `sendtrace up`" in (await station.run("web")).err
    with ExitStack() as stack:
        role = station.program(stack, "sink", "tables")
        assert await asyncio.to_thread(role.end) == 1
    assert "holds the raw log of `sendtrace up`" in role.errors[0]


async def test_before_the_sink_ran_it_is_said_what_to_run(station: Station) -> None:
    assert "run `sendtrace sink tables` with this directory first" in (await station.run("show d1")).err


async def test_web_serves_read_api_and_page(station: Station) -> None:
    await station.fold(braze("d1", "bounced"), BROKEN)
    await station.feeder.keep(braze("d2", "sent"))
    with ExitStack() as stack:
        web = station.program(stack, "web")
        address = (await asyncio.to_thread(web.wait_for, "ready")).split()[1].removeprefix("http://")

        def ask(path: str) -> tuple[int, bytes]:
            return request(address, "GET", path)

        (message,) = json.loads(ask("/v1/messages?q=d1")[1])["messages"]
        detail = json.loads(ask(f"/v1/messages/{message['message_id']}")[1])
        assert base64.b64decode(detail["postbacks"][0]["body_base64"]) == braze("d1", "bounced").body
        account = json.loads(ask("/v1/audit")[1])
        assert (account["accepted"], account["pending"], account["balanced"]) == (3, 1, True)
        assert len(json.loads(ask("/v1/dead")[1])["dead"]) == 1
        assert b"adds up" in ask("/")[1]
        assert ask("/readyz")[0] == 200
        assert b"sendtrace_postbacks_applied_total" in ask("/metrics")[1]
        assert await asyncio.to_thread(web.interrupt, signal.SIGTERM) == 0


async def test_the_role_is_ready_once_it_has_caught_up_and_stops_within_seconds(station: Station) -> None:
    await station.feeder.keep(braze("d1", "sent"))
    await station.feeder.handle()
    with ExitStack() as stack:
        role = station.program(stack, "sink", "tables")
        address = (await asyncio.to_thread(role.wait_for, "ready")).split()[1].removeprefix("http://")
        await until(lambda: request(address, "GET", "/readyz")[0] == 200)
        state = json.loads(request(address, "GET", "/readyz")[1])
        assert state["trouble"] is None
        assert set(state["lag"]) == {"raw", "status", "transitions", "receipts", "dead"}
        assert b'sendtrace_sink_rows_total{topic="status"} 1.0' in request(address, "GET", "/metrics")[1]
        assert request(address, "GET", "/livez")[0] == 200
        second = station.program(stack, "sink", "tables")
        assert await asyncio.to_thread(second.end) == 1
        assert "another sendtrace is working on this directory" in second.errors[0]
        assert await asyncio.to_thread(role.interrupt, signal.SIGTERM) == 0


@pytest.mark.timeout(120)  # a dozen processes start, one after the other
async def test_a_role_that_is_killed_writes_everything_once(station: Station) -> None:
    for number in range(8):
        feeding_on = asyncio.ensure_future(feed_some(station.feeder, number))
        with ExitStack() as stack:
            role = station.program(stack, "sink", "tables")
            await asyncio.to_thread(role.wait_for, "ready")
            await asyncio.sleep(0.3 + 0.15 * number)
        await feeding_on
    async with station.sink.running():
        await station.sink.has(8 * 60)

    assert everything(station.sink.path) == everything(station.feeder.expected_path)
    assert (await station.run("audit")).lines[-1].startswith("balanced: 480 accepted")


async def feed_some(feeder: Feeder, number: int) -> None:
    for batch in range(6):
        await feeder.keep(*[braze(f"d{number}-{batch}-{one % 5}", ("sent", "delivered")[one % 2]) for one in range(10)])
        await feeder.handle()


async def test_without_brokers_the_roles_say_what_to_set(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDTRACE_KAFKA")

    for command in ("sink tables", "web"):
        ran = await station.run(command)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "kafka.bootstrap_servers" in ran.err


async def test_everything_reads_from_postgres_where_that_is_set(
    station: Station, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDTRACE_TABLES__POSTGRES", postgres_url)
    station.settings = {**station.settings, "SENDTRACE_TABLES__POSTGRES": postgres_url}
    sent = await station.feeder.keep(braze("d1", "sent"), braze("d1", "bounced"), BROKEN)
    again = await station.feeder.keep(braze("d2", "sent"))
    await station.feeder.handle(normalize=nothing_is_understood)
    await station.feeder.put(*sent)
    await station.feeder.handle()
    with ExitStack() as stack:
        role = station.program(stack, "sink", "tables")
        address = (await asyncio.to_thread(role.wait_for, "ready")).split()[1].removeprefix("http://")
        await until(lambda: request(address, "GET", "/readyz")[0] == 200)
        retrying = asyncio.ensure_future(station.run(f"dead retry {again[0].receipt_id}"))
        await fetched(station.feeder, 1)
        await station.feeder.handle()
        assert (await retrying)[:2] == (0, "1 applied\n")
        assert await asyncio.to_thread(role.interrupt, signal.SIGTERM) == 0

    assert (await station.run("audit")).lines[-1] == (
        "balanced: 4 accepted = 3 applied + 0 duplicates + 1 dead + 0 pending"
    )
    detail = json.loads((await station.run("show d1 --json")).out)
    assert [base64.b64decode(postback["body_base64"]) for postback in detail["postbacks"]] == [
        postback.body for postback in sent[:2]
    ]
    assert (await station.run("dead list")).lines[0].startswith(sent[2].receipt_id)
    assert not (station.directory / "sendtrace-data" / "tables.db").exists()


async def test_tables_of_a_newer_release_end_the_role_with_one_line(station: Station) -> None:
    await station.fold(braze("d1", "sent"))
    with closing(sqlite3.connect(station.sink.path, isolation_level=None)) as db:
        db.execute("INSERT INTO schema_migrations VALUES (99, '0099_later.sql', '')")
    with ExitStack() as stack:
        role = station.program(stack, "sink", "tables")
        assert await asyncio.to_thread(role.end) == 1

    assert "the tables are at migration 0099" in role.errors[-1]


async def test_the_role_runs_without_a_broker_and_says_so_once(station: Station) -> None:
    station.settings = {**station.settings, "SENDTRACE_KAFKA": "127.0.0.1:1"}
    with ExitStack() as stack:
        role = station.program(stack, "sink", "tables")
        address = (await asyncio.to_thread(role.wait_for, "ready")).split()[1].removeprefix("http://")
        await asyncio.sleep(2)
        code, body = request(address, "GET", "/readyz")
        assert (code, json.loads(body)["trouble"]) == (503, "kafka: 127.0.0.1:1: no broker answers")
        assert request(address, "GET", "/livez")[0] == 200
        assert await asyncio.to_thread(role.interrupt, signal.SIGTERM) == 0

    assert [json.loads(line)["event"] for line in role.errors] == [
        "kafka: 127.0.0.1:1: no broker answers; trying again until it goes"
    ]


async def test_web_without_a_broker_answers_what_the_tables_know(station: Station) -> None:
    await station.fold(braze("d1", "sent"))
    station.settings = {**station.settings, "SENDTRACE_KAFKA": "127.0.0.1:1"}
    with ExitStack() as stack:
        web = station.program(stack, "web")
        address = (await asyncio.to_thread(web.wait_for, "ready")).split()[1].removeprefix("http://")
        code, page = request(address, "GET", "/")
        assert (code, b"cannot be made" in page) == (200, True)
        assert request(address, "GET", "/readyz")[0] == 200
        assert request(address, "GET", "/v1/messages?q=d1")[0] == 200
        code, body = request(address, "GET", "/v1/audit")
        assert (code, json.loads(body)["error"]["code"]) == (503, "unreadable")
        assert await asyncio.to_thread(web.interrupt, signal.SIGTERM) == 0
