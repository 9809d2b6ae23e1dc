"""The names of Faust and mode that are not public and that we use, each with what we take for granted of it.

A pin of faust-streaming or mode-streaming moves only with these, and with `tests/faults/test_worker*.py`, which
hold the whole to its promises on a real broker.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from faust.app.base import App
from faust.transport import consumer as transport
from faust.transport.drivers import aiokafka as driver
from mode.services import Service

from processors.faust_shell import shell


def source(of: object) -> str:
    assert callable(of)
    return inspect.getsource(of)


def parameters(of: object) -> list[str]:
    assert callable(of)
    return list(inspect.signature(of).parameters)


def test_these_versions_were_looked_at() -> None:
    assert (version("faust-streaming"), version("mode-streaming")) == ("0.15.3", "0.7.1")


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (driver.Consumer, "_drain_messages", ["self", "fetcher"]),
        (driver.Consumer, "_getmany", ["self", "active_partitions", "timeout"]),
        (driver.Consumer, "_get_active_partitions", ["self"]),
        (driver.Consumer, "_new_consumer_thread", ["self"]),
        (driver.Consumer, "wait_empty", ["self"]),
        (driver.Consumer, "verify_all_partitions_active", ["self"]),
        (driver.Consumer, "seek_wait", ["self", "partitions"]),
        (driver.Consumer, "highwater", ["self", "tp"]),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (driver, "server_list", ["urls", "default_port"]),
    ],
)
def test_what_is_called_or_overridden_is_there_and_takes_the_same(
    owner: object, name: str, expected: list[str]
) -> None:
    assert parameters(getattr(owner, name)) == expected


def test_what_we_override_is_what_faust_calls() -> None:
    assert "await consumer._drain_messages(self)" in source(transport.Fetcher._fetcher.fun)
    assert "self._create_worker_consumer(transport)" in source(driver.AIOKafkaConsumerThread._create_consumer)
    assert "self._new_consumer_thread()" in source(transport.ThreadDelegateConsumer.__init__)
    assert "await consumer.wait_empty()" in source(App._consumer_wait_empty)


def test_partitions_are_revoked_only_after_the_wait_and_with_the_flow_stopped() -> None:
    told = source(App._on_partitions_revoked)

    assert told.index("stop_flow") < told.index("_consumer_wait_empty") < told.index("on_partitions_revoked.send")


def test_a_stop_waits_too() -> None:
    assert "await self.wait_empty()" in source(transport.Consumer.on_stop)


def test_an_assignment_is_told_with_the_app_and_all_partitions_of_it() -> None:
    assert "self.on_partitions_assigned.send)(assigned)" in source(App._on_partitions_assigned)
    assert parameters(faust.App._on_partitions_assigned) == ["self", "assigned", "generation_id"]


def test_nothing_is_committed_where_nothing_is_acknowledged() -> None:
    """Offsets are committed in our transactions: Faust finds none of its own."""
    assert "for tp in self._acked" in source(transport.Consumer._filter_tps_with_pending_acks)


def test_faust_fetches_without_making_messages_of_records() -> None:
    assert "fetcher.fetched_records(" in source(driver.AIOKafkaConsumerThread._fetch_records)
    assert parameters(driver.AIOKafkaConsumerThread.getmany) == ["self", "active_partitions", "timeout"]


def test_a_consumer_takes_what_we_give_it() -> None:
    given = {
        *("client_id", "group_id", "group_instance_id", "bootstrap_servers", "partition_assignment_strategy"),
        *("enable_auto_commit", "auto_offset_reset", "max_poll_interval_ms", "max_partition_fetch_bytes"),
        *("fetch_max_wait_ms", "request_timeout_ms", "session_timeout_ms", "rebalance_timeout_ms"),
        *("heartbeat_interval_ms", "isolation_level", "metadata_max_age_ms"),
    }

    assert given <= set(parameters(AIOKafkaConsumer))
    assert all(f"{name}=" in source(shell._Thread._create_worker_consumer) for name in given)


def test_a_service_tells_that_it_stops_and_why_it_crashed() -> None:
    assert isinstance(inspect.getattr_static(Service, "crash_reason"), property)
    assert "self._stopped" in source(Service.__init__)
    assert inspect.iscoroutinefunction(Service.wait_until_stopped)
