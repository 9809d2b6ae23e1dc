"""Asking brokers for topics and having some made. Imports aiokafka, so commands import this when they need it.

Every call ends within `DEADLINE_S`, with an answer or a `BrokerError`. Refuses to ask for a topic by
its name: a broker set to make topics on demand would make it, with a policy of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from sendtrace.kafka_topics import BrokerError, Expected, Found, Made, as_made

DEADLINE_S: Final = 10.0
#: For one address or answer: short enough to try a second address before the deadline.
_REQUEST_S: Final = 4.0
#: Three seconds and more: so long is a broker of three that died picked again, and are new topics waited for.
_TRIES: Final = 30
_PAUSE_S: Final = 0.1
_ADVICE: Final = {
    InvalidReplicationFactorError.errno: (
        "set kafka.replication_factor, and kafka.min_insync_replicas with it, to no more than there are brokers"
    ),
    TopicAuthorizationFailedError.errno: "have whoever runs the brokers allow it, or make the topic",
    ClusterAuthorizationFailedError.errno: "have whoever runs the brokers allow it, or make the topic",
}
_ADVICE_ELSE: Final = "see the log of the broker, then run `sendtrace topics create` again"

_Answer = TypeVar("_Answer")


class _NotServingError(Exception):
    """A broker answers that knows of none to serve a request, itself included."""


def find_topics(brokers: Sequence[str], names: Sequence[str]) -> dict[str, Found]:
    """Those of `names` that the brokers have. Raises `BrokerError`."""
    return asyncio.run(look_for_topics(brokers, names))


async def look_for_topics(brokers: Sequence[str], names: Sequence[str]) -> dict[str, Found]:
    """The same on a running event loop."""
    return await _ask(brokers, lambda admin: _find(admin, names))


def create_topics(brokers: Sequence[str], topics: Sequence[Expected]) -> Made:
    """Have `topics` made, those that are there left as they are. Raises `BrokerError`."""
    return asyncio.run(_ask(brokers, lambda admin: _create(admin, topics)))


async def _ask(brokers: Sequence[str], ask: Callable[[AIOKafkaAdminClient], Awaitable[_Answer]]) -> _Answer:
    with _quiet():
        try:
            return await _until_one_is_ready(brokers, ask)
        except (KafkaError, TimeoutError, OSError, _NotServingError) as error:
            raise BrokerError(f"{', '.join(brokers)}: {_told(error)}") from None


async def _until_one_is_ready(
    brokers: Sequence[str], ask: Callable[[AIOKafkaAdminClient], Awaitable[_Answer]]
) -> _Answer:
    """Ask again, and so another one: aiokafka picks at random, and a broker that died is still named for a while."""
    async with asyncio.timeout(DEADLINE_S):
        for _ in range(_TRIES - 1):
            with suppress(NodeNotReadyError):
                async with _admin(brokers) as admin:
                    return await ask(admin)
            await asyncio.sleep(_PAUSE_S)
        async with _admin(brokers) as admin:
            return await ask(admin)


def _told(error: Exception) -> str:
    """What is wrong and what to do. aiokafka's own texts name addresses again, or insides of its own."""
    if isinstance(error, TimeoutError | KafkaTimeoutError | RequestTimedOutError):
        return f"no answer within {DEADLINE_S:.0f} s; see how the broker does, or correct kafka.bootstrap_servers"
    if isinstance(error, KafkaConnectionError | OSError):
        return "no broker answers; start it, or correct kafka.bootstrap_servers"
    if isinstance(error, NodeNotReadyError):
        return (
            "answers, but the broker it names cannot be reached; correct advertised.listeners of that broker, or have"
            " this machine know its name"
        )
    if isinstance(error, KafkaError):
        return f"answers with {type(error).__name__}; see the log of the broker"
    return "the broker does not serve yet; try again when it has started"


@asynccontextmanager
async def _admin(brokers: Sequence[str]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(brokers), client_id="sendtrace", request_timeout_ms=int(_REQUEST_S * 1000)
    )
    try:
        await admin.start()
        await _serving(admin)
        yield admin
    finally:
        await admin.close()


async def _serving(admin: AIOKafkaAdminClient) -> None:
    """Raise `_NotServingError` where aiokafka would fail on having no broker, or no controller, to send to."""
    try:
        cluster = await admin.describe_cluster()
    except AssertionError:  # its way to say that it knows no broker
        raise _NotServingError from None
    if cluster["controller_id"] < 0:
        raise _NotServingError


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep aiokafka's log lines from standard error: what matters is in the `BrokerError`."""
    log = logging.getLogger("aiokafka")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


async def _find(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Found]:
    described = {topic["topic"]: topic for topic in await admin.describe_topics()}
    there = [name for name in names if name in described]
    settings = await _settings(admin, there)
    return {name: _found(name, described[name]["partitions"], settings[name]) for name in there}


def _found(name: str, partitions: Sequence[dict[str, Any]], settings: dict[str, str]) -> Found:
    replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
    return Found(name, len(partitions), replicas, settings)


async def _settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The settings of each topic, defaults included. Those of a topic that may not be asked for are empty."""
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    resources = [resource for answer in answers for resource in answer.to_object()["resources"]]
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"] or "" for entry in resource["config_entries"]
        }
        for resource in resources
    }


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Expected]) -> Made:
    made = [as_made(topic) for topic in topics]
    wanted = [NewTopic(topic.name, topic.partitions, topic.replicas, topic_configs=topic.settings) for topic in made]
    answer = await admin.create_topics(wanted)
    results = {result["topic"]: result for result in answer.to_object()["topic_errors"]}
    created = {name for name, result in results.items() if result["error_code"] == 0}
    refused = {
        name: _refusal(result["error_code"], result["error_message"])
        for name, result in results.items()
        if result["error_code"] not in {0, TopicAlreadyExistsError.errno}
    }
    await _until_seen(admin, set(results) - set(refused))
    return Made(frozenset(created), refused)


async def _until_seen(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait a little: the controller has made them, and the brokers, asked by whoever comes next, learn it later."""
    for _ in range(_TRIES):
        if names <= set(await admin.list_topics()):
            return
        await asyncio.sleep(_PAUSE_S)


def _refusal(code: int, message: str | None) -> str:
    return f"{(message or for_code(code).__name__).rstrip('.')}; {_ADVICE.get(code, _ADVICE_ELSE)}"
