"""`make kafka` and `make kafka-stop`: a broker on this machine that outlives the command.

On standard output stands only the address, so `SENDTRACE_KAFKA=$(make kafka)` works; all else is said on standard
error. Exit codes: 0, 1 when there is no broker to be had, 2 for wrong use, 130 after Ctrl-C,
which leaves nothing running.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kafka.broker_answers import wait_for_brokers
from tests.kafka.kafka_jars import HOME, KafkaError, alone, jars_folder
from tests.kafka.local_kafka import SIZES, LocalKafka

DEFAULT_PORT = 19092
_ANSWERS_WITHIN_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line's `start` and `stop`; the exit code."""
    parser = argparse.ArgumentParser(prog="kafka", description="A Kafka broker on this machine, from its jars.")
    parser.add_argument("what", choices=("start", "stop"))
    parser.add_argument("--data", type=Path, default=HOME / "data", help="its directory")
    parser.add_argument("--brokers", type=int, choices=SIZES, default=1)
    parser.add_argument("--port", type=int, help=f"{DEFAULT_PORT}, or another if that is taken")
    asked = parser.parse_args(arguments)
    try:
        with alone(asked.data / "lock"):
            _start(asked.data, asked.brokers, asked.port) if asked.what == "start" else _stop(asked.data)
    except KafkaError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(sentence: str) -> None:
    print(f"kafka: {sentence}", file=sys.stderr)  # noqa: T201 (a command of the Makefile)


def _start(data: Path, brokers: int, port: int | None) -> None:
    kafka = LocalKafka.find(data)
    if kafka is not None and len(kafka.brokers) != brokers:
        count = len(kafka.brokers)
        raise KafkaError(f"{data} holds the data of {count} broker(s); make kafka-stop and remove it for {brokers}")
    if kafka is not None and kafka.runs():
        _say_that_it_runs(kafka)
    else:
        if not jars_folder().is_dir():
            _say("fetching its jars, this once")
        kafka = _placed(data, brokers, port, kafka)
        try:
            kafka.start()
        except KeyboardInterrupt:
            kafka.kill()  # it does not hear the terminal's Ctrl-C
            raise
    print(kafka.address)  # noqa: T201 (what the command is for)


def _say_that_it_runs(kafka: LocalKafka) -> None:
    addresses = kafka.address.split(",")
    if not wait_for_brokers(addresses, count=len(addresses), within_s=_ANSWERS_WITHIN_S):
        raise KafkaError(f"it runs at {kafka.address} but does not answer; make kafka-stop ends it")
    _say("running already")


def _placed(data: Path, brokers: int, port: int | None, before: LocalKafka | None) -> LocalKafka:
    """On the port that was asked for; otherwise where it was before, the default, or any, in this order."""
    if before is not None and not port and before.can_start():
        return before
    if before is not None:
        before.stop()  # what is left of several would not find the others at new ports
    try:
        return LocalKafka.create(data, brokers=brokers, port=port or DEFAULT_PORT)
    except KafkaError as taken:
        if port:
            raise
        kafka = LocalKafka.create(data, brokers=brokers)
        _say(f"{taken}, {kafka.brokers[0].port} is used")
        return kafka


def _stop(data: Path) -> None:
    kafka = LocalKafka.find(data)
    if kafka is None or not any(kafka.runs(broker.number) for broker in kafka.brokers):
        _say("not running")
        return
    kafka.stop()
    _say("stopped; its data stay")


if __name__ == "__main__":
    sys.exit(main())
