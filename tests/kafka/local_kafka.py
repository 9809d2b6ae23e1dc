"""Apache Kafka on this machine: one broker or three, from the jars, on 127.0.0.1, with all data in one directory.

`make kafka` and the tests start brokers with this and nothing else. A directory remembers its brokers
(`brokers.json`), so that another process can stop them or start them again on the same data.
"""

from __future__ import annotations

import json
import random
import signal
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.kafka.broker_answers import wait_for_brokers
from tests.kafka.broker_process import BrokerProcess
from tests.kafka.kafka_jars import DEPLOY, KafkaError, jars, java

LOOPBACK: Final = "127.0.0.1"
SIZES: Final = (1, 3)
#: Every cluster has the same name: 16 bytes in base64, as the broker wants it.
CLUSTER: Final = "c2VuZHRyYWNlLWthZmthLQ"

#: Below the numbers that kernels give to clients: a broker that is started again must find its port free.
_PORTS = range(20_000, 30_000)
_READY_WITHIN_S = 60.0
_FORMAT_WITHIN_S = 60.0
_STOP_WITHIN_S = 20.0
_HEAP_MB = 512
#: The first compiler only: brokers that live for minutes gain nothing from the second, two cores much from its rest.
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


class Broker:
    """One broker of a cluster: its ports, files and process."""

    def __init__(self, number: int, directory: Path, *, port: int, controller_port: int, pid: int = 0) -> None:
        self.number = number
        self.port = port
        self.controller_port = controller_port
        self.directory = directory
        self.config = directory / "server.properties"
        self.log = directory / "broker.log"
        self.process = BrokerProcess(self.config, pid)

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"{LOOPBACK}:{self.port}"

    def configure(self, voters: str, brokers: int) -> None:
        """Write its configuration: what is its own, then what all share."""
        own = {
            "node.id": self.number,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{LOOPBACK}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": self.directory / "log",
            **replication(brokers),
        }
        lines = "".join(f"{key}={value}\n" for key, value in own.items())
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(lines + (DEPLOY / "server.properties").read_text(encoding="utf-8"), encoding="utf-8")

    def java_command(self, *words: str, heap_mb: int = _HEAP_MB) -> list[str]:
        """Java with Kafka's classes and this broker's log. Raises `KafkaError` as `java` and `jars` do."""
        logging = (f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.properties'}", f"-Dsendtrace.kafka.log={self.log}")
        return [java(), f"-Xmx{heap_mb}m", *_JVM, *logging, "-cp", f"{jars()}/*", *words]


class LocalKafka:
    """A cluster on this machine. Its methods take a broker's number, or mean all of them."""

    def __init__(self, data: Path, brokers: list[Broker]) -> None:
        self._data = data
        self.brokers = brokers

    @classmethod
    def create(cls, data: Path, *, brokers: int = 1, port: int | None = None) -> LocalKafka:
        """A new cluster whose data will be in `data`, on free ports or from `port` on; nothing is started.

        Raises `KafkaError` when one of the ports is taken.
        """
        first = port or 0
        wanted = [first + n for n in range(brokers)] if first else []
        if taken := [one for one in wanted if not _is_free(one)]:
            raise KafkaError(f"port {taken[0]} is taken on {LOOPBACK}")
        chosen = [*wanted, *free_ports((1 if first else 2) * brokers, but=wanted)]
        pairs = zip(chosen[:brokers], chosen[brokers:], strict=True)
        found = [
            Broker(number, data.resolve() / str(number), port=own, controller_port=controller)
            for number, (own, controller) in enumerate(pairs, start=1)
        ]
        return cls(data.resolve(), found)

    @classmethod
    def find(cls, data: Path) -> LocalKafka | None:
        """The cluster whose data are in `data`, running or not."""
        try:
            recorded = json.loads((data / "brokers.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(data.resolve(), [Broker(directory=data.resolve() / str(one["number"]), **one) for one in recorded])

    @property
    def address(self) -> str:
        """Where clients begin: `host:port`, several parted by commas."""
        return ",".join(broker.address for broker in self.brokers)

    def runs(self, number: int | None = None) -> bool:
        """Whether the process is there, or all of them are; whether they answer is another question."""
        return all(broker.process.runs() for broker in self._meant(number))

    def can_start(self) -> bool:
        """Whether each broker has its ports: runs already, or would find them free."""
        return all(
            broker.process.runs() or (_is_free(broker.port) and _is_free(broker.controller_port))
            for broker in self.brokers
        )

    def start(self, number: int | None = None, *, within_s: float = _READY_WITHIN_S) -> None:
        """Start, or start again on the same data and ports, and wait until clients are answered.

        Raises `KafkaError` when Java or the jars are missing, or a broker does not come up.
        """
        meant = [broker for broker in self._meant(number) if not broker.process.runs()]
        voters = ",".join(f"{each.number}@{LOOPBACK}:{each.controller_port}" for each in self.brokers)
        for broker in meant:
            broker.configure(voters, len(self.brokers))
        _format([broker for broker in meant if not (broker.directory / "log" / "meta.properties").exists()])
        for broker in meant:
            broker.process.start(broker.java_command("kafka.Kafka", str(broker.config)), log=broker.log)
            self.record()
        self._wait_until_ready(meant, within_s)

    def kill(self, number: int | None = None) -> None:
        """SIGKILL; returns when the processes are gone."""
        self._end(signal.SIGKILL, number)

    def stop(self, number: int | None = None) -> None:
        """SIGTERM, and SIGKILL for what is left after 20 s; returns when the processes are gone."""
        self._end(signal.SIGTERM, number)

    def pause(self, number: int | None = None) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        for broker in self._meant(number):
            broker.process.send(signal.SIGSTOP)

    def resume(self, number: int | None = None) -> None:
        """SIGCONT after a pause."""
        for broker in self._meant(number):
            broker.process.send(signal.SIGCONT)

    def _meant(self, number: int | None) -> list[Broker]:
        return [broker for broker in self.brokers if number in {None, broker.number}]

    def _wait_until_ready(self, meant: list[Broker], within_s: float) -> None:
        working = sum(broker.process.runs() for broker in self.brokers)
        addresses = [broker.address for broker in meant]
        if wait_for_brokers(addresses, count=working, within_s=within_s, hopeless=lambda: _any_gone(meant)):
            return
        gone = [broker for broker in meant if not broker.process.runs()]
        how = "ended at once" if gone else f"did not answer within {within_s:.0f} s"
        for broker in meant:
            broker.process.send(signal.SIGKILL)
        raise KafkaError(f"the broker {how}; its reasons are in {(gone or meant)[0].log}")

    def _end(self, how: signal.Signals, number: int | None) -> None:
        meant = self._meant(number)
        for signal_number in (how, signal.SIGCONT):  # what is paused hears only SIGKILL
            for broker in meant:
                broker.process.send(signal_number)
        for broker in meant:
            if not broker.process.wait_until_gone(within_s=_STOP_WITHIN_S):
                broker.process.send(signal.SIGKILL)
                broker.process.wait_until_gone(within_s=_STOP_WITHIN_S)

    def record(self) -> None:
        """Write down what `find` reads."""
        recorded = [
            {"number": each.number, "port": each.port, "controller_port": each.controller_port, "pid": each.process.pid}
            for each in self.brokers
        ]
        (self._data / "brokers.json").write_text(json.dumps(recorded), encoding="utf-8")


def replication(brokers: int) -> dict[str, int]:
    """How topics are kept on one broker or three: on each; one of three may be away."""
    needed = max(1, brokers - 1)
    return {
        "default.replication.factor": brokers,
        "min.insync.replicas": needed,
        "offsets.topic.replication.factor": brokers,
        "transaction.state.log.replication.factor": brokers,
        "transaction.state.log.min.isr": needed,
        "share.coordinator.state.topic.replication.factor": brokers,
        "share.coordinator.state.topic.min.isr": needed,
    }


def _any_gone(brokers: list[Broker]) -> bool:
    return not all(broker.process.runs() for broker in brokers)


def _format(brokers: list[Broker]) -> None:
    """Make their directories a new cluster's. Raises `KafkaError`."""
    for broker in brokers:
        words = ("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(broker.config))
        broker.process.start(broker.java_command(*words, heap_mb=128), log=broker.log)
    failed = [broker for broker in brokers if broker.process.exit_code(within_s=_FORMAT_WITHIN_S) != 0]
    if failed:
        raise KafkaError(f"the broker's directory could not be formatted; the reasons are in {failed[0].log}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the broker does, or the remains of its own closed connections would keep it from coming back.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int, *, but: Iterable[int] = ()) -> list[int]:
    """Ports that nobody listens on now. Drawn by chance, so that two test runs rarely draw the same."""
    drawn = (port for port in random.SystemRandom().sample(_PORTS, 1_000) if port not in {*but} and _is_free(port))
    return [next(drawn) for _ in range(count)]
