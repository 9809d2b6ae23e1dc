"""One Kafka broker in a container, for machines with Docker and without Java. It is one for all tests and is not
killed or paused: what tests of faults need, only tests/kafka/local_kafka.py can do.
"""

from __future__ import annotations

import gc
import os
import time
import warnings
from typing import Final

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from tests.kafka.broker_answers import wait_for_brokers
from tests.kafka.kafka_jars import DEPLOY, KafkaError
from tests.kafka.local_kafka import CLUSTER, LOOPBACK, free_ports, replication

IMAGE: Final = "apache/kafka:4.1.0"

_ANSWER_WITHIN_S = 2
_STALLS_AFTER_S = 20
_PULL_WITHIN_S = 240.0
_READY_WITHIN_S = 45.0


def image() -> str:
    """SENDTRACE_KAFKA_IMAGE, or the default."""
    return os.environ.get("SENDTRACE_KAFKA_IMAGE") or IMAGE


def image_is_there() -> bool:
    """Whether a Docker engine answers within seconds and has the image, or could pull it within four minutes."""
    with warnings.catch_warnings():
        # A client that finds no engine leaves its socket to the collector, which would be some later test's failure.
        warnings.simplefilter("ignore", ResourceWarning)
        found = _look()
        gc.collect()
    return found


def _look() -> bool:
    try:
        engine = DockerClient(timeout=_ANSWER_WITHIN_S).client
        try:
            if not engine.images.list(name=image()):
                _pull()
            return bool(engine.images.list(name=image()))
        finally:
            engine.close()
    # Whatever the client, its transport or an engine's reply raises, the meaning is the same: not from here.
    except Exception:  # noqa: BLE001 (see above)
        return False


def _pull() -> None:
    """Read the engine's progress: a pull that stalls or drags on is given up, never waited for."""
    engine = DockerClient(timeout=_STALLS_AFTER_S).client
    deadline_s = time.monotonic() + _PULL_WITHIN_S
    try:
        for _ in engine.api.pull(image(), stream=True):
            if time.monotonic() > deadline_s:
                return
    finally:
        engine.close()


def settings(port: int) -> dict[str, str]:
    """The environment that makes the image's broker like the local one, reached from here at `port`.

    It listens on that number inside too, so that the broker reaches itself at the address that it tells clients.
    """
    own = {
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{port + 1}",
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://{LOOPBACK}:{port + 1}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
    }
    lines = (DEPLOY / "server.properties").read_text(encoding="utf-8").splitlines()
    shared = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    every = {**own, **shared, **{key: str(value) for key, value in replication(1).items()}}
    named = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in every.items()}
    return {"CLUSTER_ID": CLUSTER, "KAFKA_HEAP_OPTS": "-Xmx512m", **named}


class DockerKafka:
    """A container with one broker; `address` is `host:port`."""

    def __init__(self) -> None:
        port = free_ports(1)[0]
        # Its reaper would be a second image, and listen on every address of this machine.
        testcontainers_config.ryuk_disabled = True
        self.address = f"{LOOPBACK}:{port}"
        self._container = DockerContainer(image(), docker_client_kw={"timeout": _STALLS_AFTER_S}).with_envs(
            **settings(port)
        )
        # Its own words for this, `with_bind_ports`, would open the port on every address.
        self._container.ports[f"{port}/tcp"] = (LOOPBACK, port)  # type: ignore[assignment]  # Docker takes a pair

    def start(self) -> None:
        """Start it and wait until clients are answered. Raises `KafkaError`; nothing is left running then."""
        try:
            self._container.start()
        except Exception as failed:  # noqa: BLE001 (of the engine, its client or their transport: it did not start)
            self.stop()
            raise KafkaError(f"Docker did not start {image()}: {failed}") from None
        if not wait_for_brokers([self.address], count=1, within_s=_READY_WITHIN_S):
            self.stop()
            raise KafkaError(f"the broker of {image()} did not answer within {_READY_WITHIN_S:.0f} s")

    def stop(self) -> None:
        """Remove the container with its data."""
        self._container.stop()
