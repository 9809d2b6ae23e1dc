"""The topics there should be, and what is told of one that is not as it should be. No broker takes part."""

from __future__ import annotations

import pytest

from schemas.topics import IN_USE
from sendtrace.kafka_topics import (
    Expected,
    Found,
    as_made,
    compare,
    described,
    differences,
    expected_topics,
)
from sendtrace.settings_kafka import KafkaSettings

DAY_MS = 86_400_000
KAFKA = KafkaSettings(topic_prefix="p.", partitions=4, replication_factor=3, min_insync_replicas=2)


def topics(kafka: KafkaSettings = KAFKA, body_bytes: int = 524_288) -> dict[str, Expected]:
    return {topic.name: topic for topic in expected_topics(kafka, body_bytes=body_bytes)}


def settings_of(topic: Expected) -> dict[str, str]:
    return {setting.name: setting.value for setting in topic.settings}


def told(topic: Expected, found: Found) -> list[str]:
    return [str(difference) for difference in differences(topic, found, broker="b:1")]


def with_setting(topic: Expected, name: str, value: str) -> Found:
    made = as_made(topic)
    return made._replace(settings={**made.settings, name: value})


def test_the_topics_in_use_are_made_under_the_prefix() -> None:
    assert (
        list(topics())
        == [f"p.{topic.name}" for topic in IN_USE]
        == [
            *("p.raw", "p.transitions", "p.status", "p.failures", "p.tallies", "p.alerts", "p.dead", "p.receipts"),
        ]
    )


def test_what_is_keyed_by_message_has_one_number_of_partitions() -> None:
    assert {name: topic.partitions for name, topic in topics().items()} == {
        "p.raw": 4,
        "p.transitions": 4,
        "p.status": 4,
        "p.failures": None,
        "p.tallies": None,
        "p.alerts": None,
        "p.dead": None,
        "p.receipts": 4,
    }


def test_a_topic_that_deletes_keeps_its_days() -> None:
    assert settings_of(topics()["p.raw"]) == {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * DAY_MS),
        "min.insync.replicas": "2",
        "max.message.bytes": "1048588",
    }
    assert settings_of(topics()["p.dead"])["retention.ms"] == str(90 * DAY_MS)


def test_a_topic_that_compacts_has_no_days_but_smaller_segments() -> None:
    assert settings_of(topics()["p.status"]) == {
        "cleanup.policy": "compact",
        "min.insync.replicas": "2",
        "max.message.bytes": "1048588",
        "segment.bytes": str(100 * 1024 * 1024),
    }


@pytest.mark.parametrize(
    ("body_bytes", "message_bytes"),
    [(524_288, 1_048_588), (983_052, 1_048_588), (983_053, 1_048_589), (8_388_608, 8_454_144)],
)
def test_the_largest_body_fits_with_its_headers(body_bytes: int, message_bytes: int) -> None:
    made = topics(body_bytes=body_bytes)

    assert settings_of(made["p.raw"])["max.message.bytes"] == str(message_bytes)
    assert settings_of(made["p.dead"])["max.message.bytes"] == str(message_bytes)
    assert settings_of(made["p.status"])["max.message.bytes"] == "1048588"


@pytest.mark.parametrize("name", topics())
def test_what_was_made_as_expected_does_not_differ(name: str) -> None:
    assert told(topics()[name], as_made(topics()[name])) == []


@pytest.mark.parametrize(
    ("topic", "name", "value", "wanted"),
    [
        ("p.raw", "cleanup.policy", "compact", "delete"),
        ("p.raw", "cleanup.policy", "compact,delete", "delete"),
        ("p.raw", "retention.ms", "604800000", "2592000000"),
        ("p.raw", "retention.ms", "-1", "2592000000"),
        ("p.raw", "retention.ms", "", "2592000000"),
        ("p.raw", "min.insync.replicas", "1", "2"),
        ("p.status", "cleanup.policy", "delete", "compact"),
    ],
)
def test_a_setting_that_differs_comes_with_the_command_that_sets_it(
    topic: str, name: str, value: str, wanted: str
) -> None:
    expected = topics()[topic]
    (line,) = told(expected, with_setting(expected, name, value))

    assert line == (
        f"{name} is {value}, expected {wanted}; run kafka-configs.sh --bootstrap-server b:1 --alter"
        f" --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
    )


@pytest.mark.parametrize(
    ("name", "value", "differs"),
    [
        ("max.message.bytes", "1048587", True),
        ("max.message.bytes", "1048588", False),
        ("max.message.bytes", "9999999", False),
        ("segment.bytes", "104857601", True),
        ("segment.bytes", "104857600", False),
        ("segment.bytes", "1048576", False),
    ],
)
def test_a_bound_is_held_at_its_value_and_not_one_past_it(name: str, value: str, differs: bool) -> None:  # noqa: FBT001  a column of the table
    status = topics()["p.status"]

    assert bool(told(status, with_setting(status, name, value))) is differs


def test_a_broker_that_tells_no_settings_leaves_every_one_open() -> None:
    raw = topics()["p.raw"]
    found = as_made(raw)._replace(settings={})

    assert all("is not told, expected" in line for line in told(raw, found))
    assert len(told(raw, found)) == len(raw.settings)


@pytest.mark.parametrize("partitions", [3, 5])
def test_another_number_of_partitions_is_told_without_advice_to_add_some(partitions: int) -> None:
    raw = topics()["p.raw"]
    (line,) = told(raw, as_made(raw)._replace(partitions=partitions))

    assert line.startswith(f"partitions is {partitions}, expected 4; set kafka.partitions = {partitions} if every")
    assert "kafka-topics.sh" not in line


def test_dead_letters_may_have_any_number_of_partitions() -> None:
    dead = topics()["p.dead"]

    assert as_made(dead).partitions == 1
    assert told(dead, as_made(dead)._replace(partitions=12)) == []


@pytest.mark.parametrize(("replicas", "lines"), [(2, 1), (3, 0), (4, 0)])
def test_fewer_replicas_differ_and_more_do_not(replicas: int, lines: int) -> None:
    raw = topics()["p.raw"]

    assert len(told(raw, as_made(raw)._replace(replicas=replicas))) == lines


def test_every_difference_is_told() -> None:
    raw = topics()["p.raw"]
    found = Found("p.raw", 1, 1, {**as_made(raw).settings, "retention.ms": "1", "min.insync.replicas": "1"})

    assert [difference.what for difference in differences(raw, found, broker="b:1")] == [
        "partitions",
        "replication",
        "min.insync.replicas",
        "retention.ms",
    ]


def test_what_is_missing_has_no_differences_and_other_topics_are_left_alone() -> None:
    expected = list(topics().values())
    found = {"p.raw": as_made(expected[0]), "other": Found("other", 1, 1, {})}
    looked = compare(expected, found, broker="b:1")

    assert [each.expected.name for each in looked if each.found] == ["p.raw"]
    assert [list(each.differences) for each in looked] == [[] for _ in IN_USE]


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}, "delete after 30 days"),
        ({"cleanup.policy": "delete", "retention.ms": "1000"}, "delete after 1000 ms"),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, "delete never"),
        ({"cleanup.policy": "compact", "retention.ms": "1000"}, "compact"),
        ({}, "not told"),
    ],
)
def test_a_policy_reads_as_a_person_would_say_it(settings: dict[str, str], policy: str) -> None:
    found = Found("p.raw", 4, 1, {**settings, "min.insync.replicas": "1"})

    assert described(found) == f"4 partitions, 1 replica, {policy}, 1 in sync"
