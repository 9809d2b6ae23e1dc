"""Why there is no broker: `make kafka` and the rig say it in one line, whatever is missing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.kafka import local_kafka, make_kafka
from tests.kafka.docker_kafka import image_is_there, settings
from tests.kafka.kafka_jars import KafkaError, jars, java
from tests.kafka.kafka_rig import give_up
from tests.kafka.local_kafka import LocalKafka

JAVA_17 = 'openjdk version "17.0.1" 2021-10-19'
JAVA_8 = 'java version "1.8.0_292"'


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def _only_programs_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_no_java() -> None:
    with pytest.raises(KafkaError, match=r"^no java on the PATH; install a JDK or JRE of version 17 or newer$"):
        java()


@pytest.mark.parametrize(("said", "version"), [(JAVA_8, "8"), ('openjdk version "11.0.2"', "11"), ("what?", "unknown")])
def test_java_is_too_old(said: str, version: str, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "java", f"echo '{said}' >&2")

    with pytest.raises(KafkaError, match=rf"^java is .*{version}.*, Kafka needs 17 or newer; JAVA_HOME may name"):
        java()


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin" / "java", f"echo '{JAVA_8}' >&2")
    program(tmp_path / "home" / "bin" / "java", f"echo '{JAVA_17}' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))

    assert java() == str(tmp_path / "home" / "bin" / "java")


def test_no_maven(tmp_path: Path) -> None:
    with pytest.raises(KafkaError, match=r"^no mvn on the PATH to fetch Kafka's jars with; install Maven$"):
        jars(tmp_path)


def test_jars_that_cannot_be_fetched_leave_nothing_that_looks_fetched(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "mvn", "echo '[ERROR] Could not transfer artifact'; echo '[ERROR] more'; exit 1")

    for _ in range(2):
        with pytest.raises(KafkaError, match=r"^Kafka's jars could not be fetched: Could not transfer artifact$"):
            jars(tmp_path)


def test_a_port_that_was_asked_for_and_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = make_kafka.main(["start", "--data", str(tmp_path / "data"), "--port", str(port)])

    assert code == 1
    assert f"kafka: port {port} is taken on 127.0.0.1\n" in capsys.readouterr().err


def test_a_broker_that_does_not_come_up_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = f"case \"$*\" in *-version) echo '{JAVA_17}' >&2;; *kafka.Kafka*) echo trouble; exit 3;; esac"
    program(tmp_path / "bin" / "java", broker)
    monkeypatch.setattr(local_kafka, "jars", lambda: tmp_path)
    kafka = LocalKafka.create(tmp_path / "data")

    with pytest.raises(KafkaError, match=r"^the broker ended at once; its reasons are in .*/1/broker\.log$"):
        kafka.start()
    assert kafka.brokers[0].log.read_text() == "trouble\n"


def test_a_recorded_id_that_is_somebody_elses_now_is_left_alone(tmp_path: Path) -> None:
    made = LocalKafka.create(tmp_path)
    made.brokers[0].process.pid = os.getpid()
    made.record()
    found = LocalKafka.find(tmp_path)

    assert found is not None
    assert found.brokers[0].process.pid == os.getpid()
    assert not found.runs()
    found.kill()  # and this process is still here


def test_a_directory_of_three_is_not_taken_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LocalKafka.create(tmp_path, brokers=3).record()

    assert make_kafka.main(["start", "--data", str(tmp_path)]) == 1
    assert "holds the data of 3 broker(s)" in capsys.readouterr().err


def test_without_a_broker_ci_fails_and_a_person_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Kafka for this test: no java"):
        give_up("no java")

    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Kafka for this test: no java"):
        give_up("no java")


def test_an_engine_that_does_not_answer_is_given_up_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")

        assert not image_is_there()


def test_a_container_is_told_what_a_local_broker_is_told() -> None:
    told = settings(20_000)

    assert told["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert told["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:20000"
    assert told["KAFKA_TRANSACTION_STATE_LOG_MIN_ISR"] == "1"
