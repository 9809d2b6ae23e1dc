"""Kafka for tests, a pytest plugin (tests/conftest.py names it).

`kafka` is one broker for the whole run, with an `address` and nothing else: the one that SENDTRACE_KAFKA names; else
one in Docker; else one from its jars. `private_kafka` is a test's own from the jars, to be killed, paused and started
again, `start_kafka(3)` three of them. `topic_prefix` keeps tests on the shared one apart; topics have to be created
(`create_topics`).

Without a broker such a test is skipped with the reason; where CI is set it fails with it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple, NoReturn, Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from tests.kafka.broker_answers import wait_for_brokers
from tests.kafka.docker_kafka import DockerKafka, image_is_there
from tests.kafka.kafka_jars import KafkaError, jars, java
from tests.kafka.local_kafka import LocalKafka

_ANSWERS_WITHIN_S = 10.0


class Kafka(Protocol):
    """What a test of the shared broker may use."""

    @property
    def address(self) -> str:
        """`host:port`, several parted by commas."""


class RunningKafka(NamedTuple):
    """Somebody else's broker."""

    address: str


Source = Literal["running", "docker", "local"]

_NO_LOCAL: Final = pytest.StashKey[str]()
_SOURCE: Final = pytest.StashKey[Source]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Before the first test, since fetching an image or the jars may take longer than a test is given."""
    if session.config.option.collectonly:
        return
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "start_kafka" in wanted:
        _no_local(session.config)
    if "kafka" in wanted and _source(session.config) == "local":
        _no_local(session.config)


def _no_local(config: pytest.Config) -> str:
    """Why no broker can be started from the jars; empty if one can. Fetches them, the first time."""
    if _NO_LOCAL not in config.stash:
        try:
            java()
            jars()
            config.stash[_NO_LOCAL] = ""
        except KafkaError as error:
            config.stash[_NO_LOCAL] = str(error)
    return config.stash[_NO_LOCAL]


def _source(config: pytest.Config) -> Source:
    """Where the shared broker comes from. Pulls the image, the first time."""
    if _SOURCE not in config.stash:
        if os.environ.get("SENDTRACE_KAFKA"):
            config.stash[_SOURCE] = "running"
        else:
            config.stash[_SOURCE] = "docker" if image_is_there() else "local"
    return config.stash[_SOURCE]


def give_up(reason: str) -> NoReturn:
    """Skip, or fail where CI is set: there a part that was not tried must not look green."""
    if os.environ.get("CI"):
        pytest.fail(f"no Kafka for this test: {reason}", pytrace=False)
    pytest.skip(f"no Kafka for this test: {reason}")


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The broker that all tests share."""
    source = _source(request.config)
    if source == "running":
        yield _running(os.environ["SENDTRACE_KAFKA"])
    elif source == "docker" and (container := _in_docker()):
        yield container
        container.stop()
    else:
        if no_local := _no_local(request.config):
            give_up(f"{no_local}; or start Docker, or name a broker in SENDTRACE_KAFKA")
        with _local(tmp_path_factory.mktemp("kafka"), brokers=1) as local:
            yield local


def _running(address: str) -> Kafka:
    if not wait_for_brokers(address.split(","), count=1, within_s=_ANSWERS_WITHIN_S):
        pytest.fail(f"no broker answers at {address}, which SENDTRACE_KAFKA names", pytrace=False)
    return RunningKafka(address)


def _in_docker() -> DockerKafka | None:
    """`None` when it did not come up: the jars are tried then."""
    container = DockerKafka()
    try:
        container.start()
    except KafkaError as error:
        print(f"{error}; trying the jars")  # noqa: T201 (pytest shows it beside what fails)
        return None
    return container


@contextmanager
def _local(data: Path, *, brokers: int) -> Iterator[LocalKafka]:
    """One from the jars that leaves nothing behind."""
    local = LocalKafka.create(data, brokers=brokers)
    try:
        local.start()
        yield local
    finally:
        local.kill()
        shutil.rmtree(data)


@pytest.fixture
def start_kafka(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], LocalKafka]]:
    """Start one broker, or three, for this test alone; they end with it."""
    if no_local := _no_local(request.config):
        give_up(no_local)
    with ExitStack() as started:
        yield lambda brokers: started.enter_context(_local(tmp_path_factory.mktemp("kafka"), brokers=brokers))


@pytest.fixture
def private_kafka(start_kafka: Callable[[int], LocalKafka]) -> LocalKafka:
    """One broker for this test alone."""
    return start_kafka(1)


@pytest.fixture
def topic_prefix() -> str:
    """What the topics and groups of this test begin with, on a broker that others use too."""
    return f"test-{uuid.uuid4().hex[:12]}."


async def create_topics(
    address: str, *names: str, partitions: int = 1, replicas: int = 1, settings: Mapping[str, str] | None = None
) -> None:
    """Create topics, and wait until the broker knows them. Raises aiokafka's error for one it refuses."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        new = [NewTopic(name, partitions, replicas, topic_configs=dict(settings or {})) for name in names]
        answer = await admin.create_topics(new)
    finally:
        await admin.close()
    for topic in answer.to_object()["topic_errors"]:
        if topic["error_code"]:
            raise for_code(topic["error_code"])(f"topic {topic['topic']}")
