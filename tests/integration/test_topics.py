"""`sendtrace topics` and `sendtrace check` on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sendtrace.kafka_admin import find_topics
from tests.kafka.kafka_rig import Kafka, create_topics
from tests.kafka.local_kafka import LocalKafka
from tests.unit.cli_rig import Ran, Shell

PATIENCE_S = 10.0
NAMES = ("raw", "transitions", "status", "failures", "tallies", "alerts", "dead", "receipts")
CHECK = "check --port 0 --admin-port 0"


@pytest.fixture
def shell(
    kafka: Kafka,
    topic_prefix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    """A shell whose settings name the broker, topics of this test's own, and one replica."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENDTRACE_KAFKA", kafka.address)
    monkeypatch.setenv("SENDTRACE_KAFKA__TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("SENDTRACE_KAFKA__REPLICATION_FACTOR", "1")
    monkeypatch.setenv("SENDTRACE_KAFKA__MIN_INSYNC_REPLICAS", "1")
    shell = Shell(tmp_path, capsys)
    shell("init")
    return shell


def states(ran: Ran, prefix: str) -> dict[str, str]:
    """The first word of each line by the topic it names."""
    told = (line.split(maxsplit=1) for line in ran.lines)
    return {rest.removeprefix(prefix).split(":")[0]: word for word, rest in told}


def topics_of(address: str) -> list[str]:
    async def ask() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            return await admin.list_topics()
        finally:
            await admin.close()

    return asyncio.run(ask())


def alter(address: str, name: str, settings: dict[str, str]) -> None:
    """Set exactly `settings`; the broker's other ones become its defaults. Waits until it says so itself."""

    async def ask() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, settings)])
        finally:
            await admin.close()

    asyncio.run(ask())
    deadline_s = time.monotonic() + PATIENCE_S
    while not settings.items() <= find_topics([address], [name])[name].settings.items():
        assert time.monotonic() < deadline_s


def test_topics_are_created_once_and_then_found_right(shell: Shell, topic_prefix: str) -> None:
    first, second = shell("topics create"), shell("topics create")

    assert states(first, topic_prefix) == dict.fromkeys(NAMES, "created")
    assert states(second, topic_prefix) == dict.fromkeys(NAMES, "there")
    assert (first.code, second.code, first.err + second.err) == (0, 0, "")
    assert [line.split(": ")[1] for line in second.lines] == [line.split(": ")[1] for line in first.lines]


def test_looking_creates_nothing(shell: Shell, topic_prefix: str, kafka: Kafka) -> None:
    ran, checked = shell("topics show"), shell(CHECK)

    assert [line.split()[0] for line in ran.lines[1:]] == [topic_prefix + name for name in NAMES]
    assert all(line.endswith("missing") for line in ran.lines[1:])
    assert (ran.code, checked.code) == (0, 2)
    assert f"wrong  topic     {topic_prefix}raw is missing; run `sendtrace topics create`" in checked.lines
    assert [name for name in topics_of(kafka.address) if name.startswith(topic_prefix)] == []


def test_a_check_is_right_after_they_were_created(shell: Shell, kafka: Kafka, topic_prefix: str) -> None:
    shell("topics create")
    ran = shell(CHECK)

    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-9:] == [
        f"ok     kafka     {kafka.address} answers",
        f"ok     topic     {topic_prefix}raw: 6 partitions, 1 replica, delete after 30 days, 1 in sync",
        f"ok     topic     {topic_prefix}transitions: 6 partitions, 1 replica, delete after 30 days, 1 in sync",
        f"ok     topic     {topic_prefix}status: 6 partitions, 1 replica, compact, 1 in sync",
        f"ok     topic     {topic_prefix}failures: 1 partition, 1 replica, delete after 30 days, 1 in sync",
        f"ok     topic     {topic_prefix}tallies: 1 partition, 1 replica, delete after 2 days, 1 in sync",
        f"ok     topic     {topic_prefix}alerts: 1 partition, 1 replica, compact,delete after 30 days, 1 in sync",
        f"ok     topic     {topic_prefix}dead: 1 partition, 1 replica, delete after 90 days, 1 in sync",
        f"ok     topic     {topic_prefix}receipts: 6 partitions, 1 replica, delete after 30 days, 1 in sync",
    ]


def test_a_topic_made_by_hand_is_told_and_left_as_it_is(shell: Shell, kafka: Kafka, topic_prefix: str) -> None:
    asyncio.run(create_topics(kafka.address, f"{topic_prefix}raw", partitions=2))
    first, second = shell("topics create"), shell("topics create")

    differs = [line.split(": ", 1)[1] for line in first.lines if line.startswith("differs")]
    assert [line.split(" is ")[0] for line in differs] == ["partitions", "retention.ms"]
    assert differs[1].endswith(f"--entity-name {topic_prefix}raw --add-config retention.ms=2592000000")
    assert states(second, topic_prefix) == {**dict.fromkeys(NAMES, "there"), "raw": "differs"}
    assert (first.code, second.code) == (2, 2)


def test_a_policy_that_was_changed_is_found(shell: Shell, kafka: Kafka, topic_prefix: str) -> None:
    shell("topics create")
    alter(kafka.address, f"{topic_prefix}status", {"cleanup.policy": "delete", "max.message.bytes": "1000"})
    ran, shown = shell(CHECK), shell("topics show")

    assert ran.code == 2
    assert [line.split(": ")[1].split(" is ")[0] for line in ran.lines if line.startswith("wrong")] == [
        *("cleanup.policy", "max.message.bytes", "segment.bytes"),  # altering so takes away what was set before
    ]
    assert shown.lines[3].endswith("differs: cleanup.policy, max.message.bytes, segment.bytes")


def test_more_replicas_than_brokers_are_refused_with_the_key_to_change(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, kafka: Kafka, topic_prefix: str
) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA__REPLICATION_FACTOR", "100")
    ran = shell("topics create")

    assert (ran.code, ran.err) == (1, "")
    assert states(ran, topic_prefix) == dict.fromkeys(NAMES, "refused")
    assert all("; set kafka.replication_factor, and kafka.min_insync" in line for line in ran.lines)
    assert [name for name in topics_of(kafka.address) if name.startswith(topic_prefix)] == []


def test_another_address_is_tried_when_the_first_is_away(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, kafka: Kafka
) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA", f"127.0.0.1:1,{kafka.address}")

    assert shell("topics create").code == 0


@pytest.mark.timeout(120)  # three brokers start on one small machine
def test_the_defaults_hold_on_three_brokers_and_with_one_of_them_away(
    start_kafka: Callable[[int], LocalKafka], monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    three = start_kafka(3)
    for name in ("SENDTRACE_KAFKA__REPLICATION_FACTOR", "SENDTRACE_KAFKA__MIN_INSYNC_REPLICAS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SENDTRACE_KAFKA", three.address)

    assert shell("topics create").code == 0
    assert "3 replicas, delete after 30 days, 2 in sync" in shell(CHECK).out
    three.kill(1)
    assert shell("topics show").out.count("as it should be") == len(NAMES)
