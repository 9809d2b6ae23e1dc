"""Faust as a shell: its app, group membership and rebalances; its streams and tables never see a record.

A subclass of its aiokafka transport hands each fetched partition batch to the `Owner` of the
partition. Trouble ends the process with `crash`: what is not committed is done again by the next
owner, here or elsewhere. Offsets are committed in the owners' transactions, never by Faust.

Names of Faust's that are not public are used here and nowhere else, and each is held to its meaning by
`tests/contract/test_faust_names.py`: `Consumer._drain_messages`, `_getmany`, `_get_active_partitions`,
`_new_consumer_thread`, `_stopped`, `AIOKafkaConsumerThread._create_worker_consumer`, `_consumer`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from typing_extensions import override

from processors.faust_shell.outbox import Brokers
from processors.faust_shell.owner import Owner
from schemas.topics import RAW

SESSION_TIMEOUT_S: Final = 10.0
_HEARTBEAT_S: Final = 3.0
_REBALANCE_S: Final = 30.0
_MOST_BETWEEN_POLLS_S: Final = 300.0
_FETCH_BYTES: Final = 1024 * 1024  # measured: 64 KiB 0.7 of it, larger the same
_FETCH_WAIT_MS: Final = 100  # Faust fixes 1500: one idle partition then holds back the others
#: A fetch that finds nothing returns after this, so that a partition that became ready meanwhile is asked for too.
_POLL_S: Final = 0.05
_PAUSE_S: Final = 0.01

#: What Faust says of its services' starts and stops is Faust's, and silenced with it (`sendtrace.logs`).
_faust_log: Final = logging.getLogger("faust.shell")


class Owners:
    """The partitions this process owns. `crash` is told what went wrong, and is expected to end the process."""

    def __init__(self, open_owner: Callable[[int], Owner], *, crash: Callable[[str], None]) -> None:
        self.owned: dict[int, Owner] = {}
        self._open_owner = open_owner
        self._crash = crash
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def suspend(self) -> None:
        """A rebalance begins, or the end: nothing is under way when this returns."""
        await asyncio.gather(*(owner.suspend() for owner in self.owned.values()))

    async def assigned(self, partitions: set[int]) -> None:
        """A rebalance has ended: exactly these are ours. New ones open beside the others."""
        for partition in set(self.owned) - partitions:
            await self._close(partition)
        for partition in partitions:
            if partition in self.owned:
                self.owned[partition].resume()
            else:
                owner = self.owned[partition] = self._open_owner(partition)
                self._tasks[partition] = asyncio.ensure_future(self._run(owner))

    async def close(self) -> None:
        """Give all of them back. Nothing may be under way."""
        for partition in list(self.owned):
            await self._close(partition)

    async def _close(self, partition: int) -> None:
        task, owner = self._tasks.pop(partition), self.owned.pop(partition)
        task.cancel()
        await asyncio.wait([task])
        await owner.close()

    async def _run(self, owner: Owner) -> None:
        try:
            await owner.run()
        except BaseException as error:  # noqa: BLE001  whatever it is, nothing more can be promised for the partition
            if self.owned.get(owner.partition) is owner:  # else it was cancelled by `_close`
                self._crash(f"partition {owner.partition}: {type(error).__name__}: {error}")


class _Thread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with a consumer that suits us."""

    logger = _faust_log

    @override
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=round(_MOST_BETWEEN_POLLS_S * 1000),
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            request_timeout_ms=round(conf.broker_request_timeout * 1000),
            session_timeout_ms=round(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=round(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=round(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )


class _Consumer(driver.Consumer):
    """Faust's consumer with a batch drain."""

    app: Shell
    logger = _faust_log

    @override
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    @override
    async def wait_empty(self) -> None:
        """Faust waits here before partitions are revoked and before it stops."""
        await self.app.owners.suspend()

    @override
    async def verify_all_partitions_active(self) -> None:
        """Faust's own check reads what streams report, and there are none. Progress is watched from outside."""

    @override
    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001  as Faust's own does
                await self._drain_once()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  a drain that ends without a word would leave a worker that does nothing
            self.app.crash_now(f"fetching: {type(error).__name__}: {error}")

    async def _drain_once(self) -> None:
        if not self.flow_active:
            await self.can_resume_flow.wait()  # the fetcher is cancelled when it is to stop
            return
        owned = self.app.owners.owned
        wanted = {
            tp
            for tp in self._get_active_partitions()
            if (owner := owned.get(tp.partition)) is not None and owner.wants()
        }
        if not wanted:
            await asyncio.sleep(_PAUSE_S)
            return
        for tp, records in (await self._getmany(wanted, _POLL_S)).items():
            await self._hand_over(tp, records)

    async def _hand_over(self, tp: TP, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        owner = self.app.owners.owned.get(tp.partition)
        if owner is None or not owner.wants():
            return  # it was given back meanwhile, or will ask again from where it stands
        instead = owner.offer(records)
        if instead is not None:
            with suppress(IllegalStateError):  # revoked this instant
                await self.seek_wait({tp: instead})


class _Producer(driver.Producer):
    """Faust starts one; nothing is ever sent with it."""

    logger = _faust_log


class _Transport(driver.Transport):
    Consumer = _Consumer
    Producer = _Producer


class Shell(faust.App):
    """The Faust app. Start and stop it like any mode service; use `make_shell`."""

    logger = _faust_log
    owners: Owners
    crash_now: Callable[[str], None]
    #: Whether the group has given this process its partitions, be it none.
    joined: bool = False

    def set_up(self, owners: Owners, *, raw_topic: str, crash: Callable[[str], None]) -> None:
        """What Faust's constructor has no place for."""
        self.owners = owners
        self.crash_now = crash
        self._raw_topic = raw_topic
        transport = _Transport(list(self.conf.broker), self, loop=self.loop)
        self.transport = self.producer_transport = transport
        self.topics.add(self.topic(raw_topic, key_type=bytes, value_type=bytes, value_serializer="raw"))
        self.on_partitions_assigned.connect(self._assigned, weak=False)

    async def _assigned(self, *told: object, **_: object) -> None:
        assigned = cast("Iterable[TP]", told[1])  # the first is the app
        await self.owners.assigned({tp.partition for tp in assigned})
        self.joined = True

    def end_offset(self, partition: int) -> int | None:
        """Where a partition ended when it was last fetched from; `None` while that is not known."""
        consumer = self.consumer
        tp = TP(self._raw_topic, partition)
        return consumer.highwater(tp) if tp in consumer.assignment() else None


def make_shell(
    brokers: Brokers,
    *,
    instance: str,
    directory: Path,
    open_owner: Callable[[int], Owner],
    crash: Callable[[str], None],
) -> Shell:
    """A worker of `brokers.group`. `instance` names it over restarts: one back in time keeps its partitions.

    Faust makes a folder in `directory`, and leaves it empty.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shell = Shell(
        brokers.group,
        broker=[f"kafka://{address}" for address in brokers.addresses],
        datadir=directory,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        table_standby_replicas=0,
        consumer_group_instance_id=instance,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=_HEARTBEAT_S,
        broker_rebalance_timeout=_REBALANCE_S,
        broker_request_timeout=_REBALANCE_S,
        stream_recovery_delay=0.0,
        stream_wait_empty=True,
    )
    shell.set_up(Owners(open_owner, crash=crash), raw_topic=brokers.topic(RAW.name), crash=crash)
    return shell
