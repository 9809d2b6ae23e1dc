"""Carries messages to targets: each target by a task of its own, so that none waits for another.

A message is written down before its first attempt, and its id is the same at every attempt: whatever ends this
process, the message is sent again under that id, and is never lost. It is tried until it is delivered, until the
target says that it never will be, or until its horizon; then it is parked with the reason, and the next one goes.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

from schemas.ports import Clock
from sinks.notifications.answers import DEFAULT_HORIZON_MS, next_ms
from sinks.notifications.planning import Plan, plan
from sinks.notifications.records import Message, Outcome
from sinks.notifications.routing import Labels, is_for
from sinks.notifications.store import NotificationStore, TargetCounts
from sinks.notifications.targets.channel import Channel
from sinks.notifications.throttle import WINDOW_MS, may_leave, refresh_due, slots
from sinks.tables.trouble import TablesError

TABLES_TROUBLE: Final = (sqlite3.Error, TablesError, OSError)
POLL_S: Final = 1.0
_PAUSE_S: Final = 2.0
_CLEAN_PERIOD_S: Final = 3_600.0
_KEEP_MS: Final = 35 * 86_400_000

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class Target(NamedTuple):
    """One target of the settings, ready to work."""

    name: str
    labels: Labels
    channel: Channel
    horizon_ms: int = DEFAULT_HORIZON_MS


class NotifierStats:
    """For health and metrics: attempts by target since the start; the rest as the tables said a moment ago."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.delivered: Counter[str] = Counter(dict.fromkeys(targets, 0))
        self.failed: Counter[str] = Counter(dict.fromkeys(targets, 0))
        self.parked: Counter[str] = Counter(dict.fromkeys(targets, 0))
        self.tables: dict[str, TargetCounts] = {}
        self.trouble: str | None = "not connected yet"


class Notifier:
    """Tells all targets. `open_store` is called in the thread that works on the store, again after trouble.

    `since_ms`: a target that was never there before is told of what was made since then, by default since now.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        open_store: Callable[[], NotificationStore],
        clock: Clock,
        since_ms: int | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._since_ms = clock.now_ms() if since_ms is None else since_ms
        self._poll_s = poll_s
        self.stats = NotifierStats([target.name for target in targets])
        self._targets = targets
        self._open_store = open_store
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notifications")

    async def run(self) -> None:
        """Until it is cancelled. Trouble with the tables is told once, and waited for."""
        try:
            while True:
                try:
                    await self._session()
                except* TABLES_TROUBLE as group:
                    self._tell(_first(group))
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._thread.shutdown(wait=False)

    def _tell(self, trouble: BaseException) -> None:
        told = str(trouble).partition("\n")[0]
        if told != self.stats.trouble:
            _log.error("notifications: %s; trying again until it goes", told)
        self.stats.trouble = told

    async def _session(self) -> None:
        """One connection, until it fails."""
        store = await self._in_thread(self._open_store)
        try:
            names = [target.name for target in self._targets]
            await self._in_thread(lambda: store.begin(names, self._since_ms))
            self.stats.trouble = None
            async with asyncio.TaskGroup() as tasks:
                for target in self._targets:
                    tasks.create_task(self._serve(target, store))
                tasks.create_task(self._look_after(store))
        finally:
            await asyncio.shield(self._in_thread(store.close))

    async def _serve(self, target: Target, store: NotificationStore) -> None:
        while True:
            if not await self._step(target, store):
                await asyncio.sleep(self._poll_s)

    async def _step(self, target: Target, store: NotificationStore) -> bool:
        """Whether anything was done, so that there may be more."""
        now_ms = self._clock.now_ms()
        taken = await self._in_thread(
            lambda: store.take_in(target.name, lambda change: is_for(target.labels, change), now_ms)
        )
        message = await self._in_thread(lambda: store.in_hand(target.name))
        if message is None:
            message = await self._in_thread(lambda: decide(target, store, now_ms))
        # A clock that was set back must not hold a message for hours.
        if message is None or 0 < message.next_ms - now_ms < target.horizon_ms:
            return bool(taken)
        await self._try(target, store, message)
        return True

    async def _try(self, target: Target, store: NotificationStore, message: Message) -> None:
        outcome = await _sent(target, message, self._clock.now_ms())
        now_ms = self._clock.now_ms()
        if outcome.state == "delivered":
            self.stats.delivered[target.name] += 1
            await self._in_thread(lambda: store.settle(message, outcome, now_ms, delivered=True))
            return
        self.stats.failed[target.name] += 1
        again_ms = next_ms(
            message.message_id, attempts=message.attempts + 1, now_ms=now_ms, after_s=outcome.retry_after_s
        )
        if outcome.state == "refused" or again_ms - message.made_ms > target.horizon_ms:
            self.stats.parked[target.name] += 1
            _log.error("target %s: a message is parked: %s", target.name, outcome.answer)
            await self._in_thread(lambda: store.settle(message, outcome, now_ms, delivered=False))
            return
        if not message.attempts:
            _log.warning("target %s: %s; trying again", target.name, outcome.answer)
        await self._in_thread(lambda: store.tried_again(message, outcome, now_ms, again_ms))

    async def _look_after(self, store: NotificationStore) -> None:
        """Counts for whoever asks, and old rows."""
        cleaned_s = float("-inf")
        while True:
            self.stats.tables = dict(await self._in_thread(store.counts))
            if self._clock.monotonic_s() - cleaned_s > _CLEAN_PERIOD_S:
                cleaned_s = self._clock.monotonic_s()
                await self._in_thread(lambda: store.clean(self._clock.now_ms() - _KEEP_MS))
            await asyncio.sleep(_PAUSE_S)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def _sent(target: Target, message: Message, now_ms: int) -> Outcome:
    try:
        return await target.channel.send(message, now_ms)
    except Exception as error:  # noqa: BLE001  what one target provokes must not stop the others
        _log.error("target %s: a message could not be sent: %s", target.name, type(error).__name__)
        return Outcome("again", f"{type(error).__name__} while it was sent")


def decide(target: Target, store: NotificationStore, now_ms: int) -> Message | None:
    """Make the next message of a target, if one may leave: written down, and not sent yet."""
    shape = target.channel.shape
    waiting = store.waiting(target.name, now_ms)
    tried = store.tried(target.name, now_ms - WINDOW_MS)
    refresh = shape.repeats_firing and refresh_due(tried, now_ms)
    if not may_leave(waiting, tried, now_ms) and not refresh:
        return None
    told = store.told(target.name)
    if not waiting.changes and not told:
        return None
    pending = store.pending(target.name) if waiting.changes else ()
    speaks_of = {*told, *(each.change["incident"]["incident_id"] for each in pending)}
    made = plan(
        shape,
        pending,
        told=told,
        people=store.people(speaks_of, now_ms),
        now_ms=now_ms,
        slots=slots(tried, waiting.worst, now_ms),
    )
    if made == Plan():
        return None
    message_id = _id_of(target.name, made, now_ms)
    store.put(target.name, made, message_id, now_ms)
    return Message(message_id, target.name, made.notice, now_ms, 0, now_ms) if made.notice is not None else None


def _id_of(target: str, made: Plan, now_ms: int) -> str:
    """Made of what it tells; where it only says again what fires, of when."""
    said = " ".join((target, *sorted(made.changes))) if made.changes else f"{target} at {now_ms}"
    return f"msg_{blake2b(said.encode(), digest_size=16).hexdigest()}"


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
