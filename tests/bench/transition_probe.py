"""How long until a postback's transition is in a reader's hands: sends at a steady pace and reads, in one process.

Either writes to the raw topic as the gateway does, each timed from its acknowledgement, or posts to a gateway, each
timed from when it was due. The reader takes only what is committed. Each postback is a new message, so each has its
transition. One is sent ahead and waited for; the first seconds warm up and are not told.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import Final, NamedTuple

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer
from typing_extensions import override

from ingest.kafka_log import KafkaLog
from processors.keys import KeyFinder
from schemas.event import Event
from schemas.identity import message_id
from schemas.postback import Postback
from schemas.topics import RAW, TRANSITIONS
from tests.bench.kafka_side import NORMALIZE, postbacks_of
from tests.bench.load_client import Load, PacedRun, Sender
from tests.bench.postbacks import requests, varied

CONNECTIONS: Final = 64
_FIRST_S: Final = 60.0
_LAST_S: Final = 30.0
_TICK_S: Final = 0.001
_POLL_MS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionProbing:
    """`port` and `path` are a gateway's; port 0: write to the raw topic itself."""

    address: str
    prefix: str
    per_s: int
    warm_up_s: float
    seconds: float
    seed: int
    port: int = 0
    path: str = ""


class Transitions(NamedTuple):
    """How many took so many tenths of a millisecond from sent to visible: a line a pipe takes in one piece."""

    tenths: dict[str, int]


class Clocks:
    """When each message was sent and when it was seen, by message id."""

    def __init__(self) -> None:
        self.sent_s: dict[str, float] = {}
        self.seen_s: dict[str, float] = {}

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        """For ever."""
        while True:
            fetched = await consumer.getmany(timeout_ms=_POLL_MS)
            now_s = perf_counter()
            for records in fetched.values():
                for record in records:
                    self.seen_s.setdefault(orjson.loads(record.value or b"")["message_id"], now_s)

    async def until_seen(self, count: int, within_s: float) -> None:
        """So many messages are. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while len(self.seen_s) < count:  # noqa: ASYNC110  a look a millisecond is cheaper than an event a message
                await asyncio.sleep(_TICK_S)


class Acknowledged:
    """The one who waits for a postback to be kept."""

    __slots__ = ("_clocks", "_name")

    def __init__(self, clocks: Clocks, name: str) -> None:
        self._clocks = clocks
        self._name = name

    def settle(self, kept: bool) -> None:  # noqa: FBT001 - the port's signature
        """The port's method."""
        if not kept:
            raise OSError("the raw topic did not take a postback")
        self._clocks.sent_s[self._name] = perf_counter()


class Posting(PacedRun):
    """The load client's own pace, and when each message was due."""

    def __init__(self, load: Load, rendered: list[bytes], names: Sequence[str], clocks: Clocks) -> None:
        super().__init__(load, rendered)
        self._names = names
        self._clocks = clocks

    @override
    def _send(self, sender: Sender) -> None:
        self._clocks.sent_s[self._names[self._sent]] = self._from_s + self._sent / self.load.rate_per_s
        super()._send(sender)


async def _append(
    log: KafkaLog, postbacks: Sequence[Postback], names: Sequence[str], clocks: Clocks, per_s: int
) -> None:
    """Each when it is due."""
    began_s, sent = perf_counter(), 0
    while sent < len(postbacks):
        due = min(len(postbacks), int((perf_counter() - began_s) * per_s) + 1)
        for postback, name in zip(postbacks[sent:due], names[sent:due], strict=True):
            log.append(postback, Acknowledged(clocks, name))
        sent = due
        await asyncio.sleep(_TICK_S)


async def _write(probing: TransitionProbing, bodies: Sequence[bytes], names: Sequence[str], clocks: Clocks) -> None:
    log = KafkaLog(brokers=probing.address.split(","), topic=probing.prefix + RAW.name, key_of=KeyFinder(NORMALIZE))
    log.start()
    async with asyncio.timeout(_FIRST_S):
        while not log.can_keep():  # noqa: ASYNC110  nobody tells us when it can
            await asyncio.sleep(_TICK_S)
    postbacks = postbacks_of(bodies)
    await _append(log, postbacks[:1], names[:1], clocks, probing.per_s)
    await clocks.until_seen(1, _FIRST_S)
    await _append(log, postbacks[1:], names[1:], clocks, probing.per_s)
    await clocks.until_seen(len(bodies), _LAST_S)
    await log.close()


async def _post(probing: TransitionProbing, bodies: list[bytes], names: Sequence[str], clocks: Clocks) -> None:
    for part in (slice(1), slice(1, None)):
        load = Load(
            port=probing.port,
            path=probing.path,
            seconds=len(bodies[part]) / probing.per_s,
            bodies=len(bodies[part]),
            seed=probing.seed,
            messages=True,
            rate_per_s=probing.per_s,
            connections=CONNECTIONS,
        )
        done = await Posting(load, requests(bodies[part], probing.path), names[part], clocks).outcome()
        if done.refused:
            raise OSError(f"answers other than 200: {done.answers}")
        await clocks.until_seen(part.stop or len(bodies), _FIRST_S)


async def run(probing: TransitionProbing, bodies: list[bytes], names: Sequence[str]) -> Transitions:
    """See the module. Raises `TimeoutError` if some never come."""
    clocks = Clocks()
    consumer = AIOKafkaConsumer(
        probing.prefix + TRANSITIONS.name,
        bootstrap_servers=probing.address,
        auto_offset_reset="latest",
        isolation_level="read_committed",
    )
    async with AsyncExitStack() as stack:
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        for place in consumer.assignment():
            await consumer.position(place)  # what comes from now on is seen
        reading = asyncio.ensure_future(clocks.read(consumer))
        stack.callback(reading.cancel)
        await (_post if probing.port else _write)(probing, bodies, names, clocks)
    told = names[1 + round(probing.per_s * probing.warm_up_s) :]
    taken_s = (max(0.0, clocks.seen_s[name] - clocks.sent_s[name]) for name in told)
    return Transitions(Counter(str(round(taken * 1e4)) for taken in taken_s))


def _names(postbacks: Sequence[Postback]) -> list[str]:
    found = []
    for postback in postbacks:
        event = NORMALIZE(postback)
        assert isinstance(event, Event)
        found.append(message_id(postback.source, event.dispatch_id, event.external_send_id, event.scope))
    return found


def main(argument: str) -> None:
    """`python -m tests.bench.transition_probe PROBING`, as JSON."""
    probing = TransitionProbing(**orjson.loads(argument))
    bodies = varied(1 + round(probing.per_s * (probing.warm_up_s + probing.seconds)), seed=probing.seed)
    names = _names(postbacks_of(bodies))
    gc.freeze()
    gc.disable()  # as in the load client
    print("{}", flush=True)
    sys.stdin.readline()
    print(orjson.dumps(uvloop.run(run(probing, bodies, names))._asdict()).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
