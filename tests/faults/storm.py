"""A storm of bounces through a running `sendtrace up`: one incident, counts exact, few messages, memory flat.

One campaign bounces as fast as it can be posted. A target that answers is told little and soon; one that never
answers holds nothing up. Used by `test_storm.py` with a small number and by `make storm` with a large one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.faults.kill_rig import Body, Ledger, Sendtrace, sender

_SENDERS: Final = 16
_CAMPAIGN: Final = "welcome"
_FIRST_TOLD_S: Final = 60.0
_MOST_MESSAGES: Final = 10
_STUCK_S: Final = 120.0
_SECRET: Final = "whsec_" + b64encode(b"0" * 32).decode()
_KNOWN: Final = ("", "")  # what a body must become is asked of the tables, not of each answer
#: So many messages fill what the processor keeps at hand; from then on its memory must not grow.
_WARM_AFTER: Final = 150_000
_MEMORY_KIB: Final = 32 * 1024


class Report(NamedTuple):
    """What was seen, for a person."""

    bounces: int
    messages: int
    first_told_s: float
    grown_kib: int
    seconds: float


@dataclass
class Receiver:
    """A target on this machine: keeps what it was told and when; a deaf one takes everything and answers nothing."""

    deaf: bool = False
    told: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While the block runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body = await reader.readexactly(length)
            if self.deaf:
                await reader.read()  # until the other side gives up
            self.told.append((time.monotonic(), json.loads(body)))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


def bounces(first: int, step: int) -> Iterator[Body]:
    """Bounces of different messages without end: every `step`-th number from `first` on."""
    number = first
    while True:
        metadata = {
            "bounced_at": "2026-11-21T10:00:00.000+00:00",
            "external_send_id": f"order-{number}",
            "campaign_api_id": _CAMPAIGN,
            "reason": "550 5.1.1 no such user here",
        }
        body = {"dispatch_id": f"d{number}", "status": "bounced", "metadata": metadata}
        yield Body(json.dumps(body).encode(), _KNOWN)
        number += step


async def run(postbacks: int, directory: Path, *, say: Callable[[str], None]) -> Report:
    """Post so many bounces, wait until everything is counted, and hold what was told to what happened."""
    good, deaf = Receiver(), Receiver(deaf=True)
    async with good.listening(), deaf.listening():
        plant = Sendtrace(directory)
        _add_targets(plant.config, good=good.port, deaf=deaf.port)
        await plant.start()
        try:
            started = time.monotonic()
            kept, memory = await _send(plant, postbacks, say)
            say("all sent; waiting until everything is counted")
            await _counted(plant, kept)
            while not good.told:
                await asyncio.sleep(0.2)
                assert time.monotonic() - started < _STUCK_S, "nobody was told"
            memory.append(_memory_kib(plant))
        finally:
            await plant.kill_all()
    first_told_s = good.told[0][0] - started
    assert first_told_s <= _FIRST_TOLD_S
    assert len(good.told) <= _MOST_MESSAGES
    warm = memory[-(-_WARM_AFTER * len(memory) // kept) :]
    grown_kib = max(warm) - warm[0] if warm else 0
    assert grown_kib < _MEMORY_KIB, f"the processes took {grown_kib} KiB more than when they were warm"
    return Report(kept, len(good.told), first_told_s, grown_kib, time.monotonic() - started)


def _add_targets(config: Path, **ports: int) -> None:
    lines = [
        f'[notifications.targets.{name}]\nkind = "webhook"\nurl = "http://127.0.0.1:{port}/"\n'
        f'secrets = ["{_SECRET}"]\nschemes = ["http"]\nallow_networks = ["127.0.0.1/32"]\n'
        for name, port in ports.items()
    ]
    config.write_text(config.read_text() + "\n" + "\n".join(lines))


async def _send(plant: Sendtrace, postbacks: int, say: Callable[[str], None]) -> tuple[int, list[int]]:
    """How many were answered 200, and what memory the processes had at each tenth."""
    ledger, stop, memory = Ledger(), asyncio.Event(), list[int]()
    sending = [
        asyncio.ensure_future(sender(plant.port, plant.path, bounces(number, _SENDERS), ledger, stop))
        for number in range(_SENDERS)
    ]
    tenth = max(1, postbacks // 10)
    while (kept := ledger.kept.total()) < postbacks:
        await asyncio.sleep(0.05)
        if kept // tenth > len(memory):
            memory.append(_memory_kib(plant))
            say(f"{kept} of {postbacks} bounces answered 200")
    stop.set()
    await asyncio.gather(*sending)
    assert not ledger.refused
    assert not ledger.unsure
    return ledger.kept.total(), memory


async def _counted(plant: Sendtrace, kept: int) -> None:
    """One incident of the campaign with exactly so many, and nothing else that speaks of it as a rate."""
    found: list[tuple[str, str, int]] = []
    changed = time.monotonic()
    while time.monotonic() - changed < _STUCK_S:
        with contextlib.closing(sqlite3.connect(f"{(plant.data / 'tables.db').as_uri()}?mode=ro", uri=True)) as db:
            now = db.execute("SELECT rule, campaign_id, count FROM incidents ORDER BY rule").fetchall()
        if now == [("bounce_rate", _CAMPAIGN, kept)]:
            return
        if now != found:
            found, changed = now, time.monotonic()
        await asyncio.sleep(0.5)
    raise AssertionError(f"{kept} bounces, and the incidents are {found}")


def _memory_kib(plant: Sendtrace) -> int:
    """What the processes that `up` started take; the gateway's is bounded by its own limits."""
    total = 0
    for pid in plant.processor_pids():
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total


def main() -> None:
    """`make storm`: prints how far it is, and at the end what was seen."""
    parser = argparse.ArgumentParser(description="Bounces of one campaign, as fast as they can be posted.")
    parser.add_argument("--bounces", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(run(asked.bounces, Path(directory), say=_say))
    _say(
        f"storm: {report.bounces} bounces, one incident with exactly as many; {report.messages} messages, the first"
        f" after {report.first_told_s:.0f} s; memory +{report.grown_kib} KiB; {report.seconds:.0f} s"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
