"""`[kafka]`: what is taken, what is refused in one line, and the variable that stands for the brokers."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.topics import DEFAULT_PREFIX
from sendtrace.settings import SettingsError, load
from sendtrace.settings_kafka import KafkaSettings

SOURCE = f'[sources.braze]\nprovider = "braze"\ntoken_sha256 = ["{"ab" * 32}"]\n'


@pytest.fixture(autouse=True)
def no_broker_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may themselves have been given a broker."""
    monkeypatch.delenv("SENDTRACE_KAFKA", raising=False)


def kafka(tmp_path: Path, table: str) -> KafkaSettings:
    path = tmp_path / "sendtrace.toml"
    path.write_text(f"{SOURCE}[kafka]\n{table}\n", encoding="utf-8")
    return load(path).kafka


def fault(tmp_path: Path, table: str) -> str:
    with pytest.raises(SettingsError) as caught:
        kafka(tmp_path, table)
    (line,) = caught.value.faults
    return line.removeprefix(f"{tmp_path}/")


def test_without_a_table_there_is_no_broker(tmp_path: Path) -> None:
    assert kafka(tmp_path, "") == KafkaSettings(
        bootstrap_servers=(), topic_prefix=DEFAULT_PREFIX, partitions=6, replication_factor=3, min_insync_replicas=2
    )


@pytest.mark.parametrize("address", ["127.0.0.1:9092", "kafka-1.example.org:65535", "[::1]:1", "kafka_1:9092"])
def test_an_address_is_host_and_port(tmp_path: Path, address: str) -> None:
    assert kafka(tmp_path, f'bootstrap_servers = ["{address}"]').bootstrap_servers == (address,)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            'bootstrap_servers = ["kafka1"]',
            'kafka.bootstrap_servers[0]: got "kafka1", expected a list of up to 100 addresses host:port',
        ),
        (
            'bootstrap_servers = ["a:1", "http://b:1"]',
            'kafka.bootstrap_servers[1]: got "http://b:1", expected a list of up to 100',
        ),
        (
            'bootstrap_servers = ["a:0"]',
            'kafka.bootstrap_servers[0]: got "a:0" (its port is not from 1 to 65535), expected',
        ),
        (
            'bootstrap_servers = ["a:65536"]',
            'kafka.bootstrap_servers[0]: got "a:65536" (its port is not from 1 to 65535), expected',
        ),
        ("bootstrap_servers = 9092", "kafka.bootstrap_servers: got 9092, expected a list of up to 100 addresses"),
        (
            f"bootstrap_servers = {['a:1'] * 101}",
            "kafka.bootstrap_servers: got a list, expected a list of up to 100 addresses",
        ),
        ('topic_prefix = "send trace"', 'kafka.topic_prefix: got "send trace", expected up to 200 letters, digits,'),
        ("partitions = 0", "kafka.partitions: got 0, expected a whole number from 1 to 1000; correct it, or leave"),
        ("partitions = 1001", "kafka.partitions: got 1001, expected a whole number from 1 to 1000"),
        ("min_insync_replicas = 0", "kafka.min_insync_replicas: got 0, expected a whole number from 1 to 100"),
        ("replication_factor = 1", "kafka.min_insync_replicas is 2, expected at most replication_factor (1), else"),
        ("replication_factr = 1", "kafka.replication_factr: there is no such setting; did you mean replication_factor"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path: Path, table: str, told: str) -> None:
    assert fault(tmp_path, table).startswith(f"sendtrace.toml: {told}")


def test_the_bounds_are_taken(tmp_path: Path) -> None:
    most = "partitions = 1000\nreplication_factor = 100\nmin_insync_replicas = 100"
    found = kafka(tmp_path, f'bootstrap_servers = {["a:1"] * 100}\ntopic_prefix = "{"p" * 200}"\n{most}')

    assert (len(found.bootstrap_servers), len(found.topic_prefix), found.partitions) == (100, 200, 1000)


def test_one_replica_is_enough_when_one_must_be_in_sync(tmp_path: Path) -> None:
    assert kafka(tmp_path, "replication_factor = 1\nmin_insync_replicas = 1").replication_factor == 1


@pytest.mark.parametrize("variable", ["SENDTRACE_KAFKA", "SENDTRACE_KAFKA__BOOTSTRAP_SERVERS"])
@pytest.mark.parametrize("text", ["a:1, b:2", '["a:1", "b:2"]'])
def test_brokers_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    found = kafka(tmp_path, 'bootstrap_servers = ["c:3"]\npartitions = 9')

    assert (found.bootstrap_servers, found.partitions) == (("a:1", "b:2"), 9)


def test_the_short_variable_leaves_room_for_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDTRACE_KAFKA", "a:1")
    monkeypatch.setenv("SENDTRACE_KAFKA__TOPIC_PREFIX", "test.")
    found = kafka(tmp_path, "")

    assert (found.bootstrap_servers, found.topic_prefix) == (("a:1",), "test.")


@pytest.mark.parametrize("variable", ["SENDTRACE_KAFKA", "SENDTRACE_KAFKA__BOOTSTRAP_SERVERS"])
def test_a_fault_names_the_variable_that_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "kafka1")

    assert fault(tmp_path, "").startswith(f'{variable}: kafka.bootstrap_servers[0]: got "kafka1", expected a list')
