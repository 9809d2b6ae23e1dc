"""The topics as the catalogue and the settings want them, held against what a broker says of them.

Pure: no client and no clock. Refuses to change a topic that differs: what that does to the records in
it is for a person to decide, so each difference comes with the command that would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from schemas.topics import BY_MESSAGE, DEAD, IN_USE, RAW, Cleanup, Topic
from sendtrace.settings_kafka import KafkaSettings

#: The dead letters are few, and one partition keeps them in one order.
PARTITIONS_WHERE_ANY: Final = 1

_DAY_MS: Final = 86_400_000
#: Kafka's own default for the bytes of a batch: what ours must hold too, because gateways fill batches.
_BATCH_BYTES: Final = 1_048_588
#: For the headers of a record and the framing of its batch, beside a body as large as allowed.
_HEADERS_BYTES: Final = 64 * 1024
#: A segment that is still written to is not compacted, and a worker that starts reads all of it: a tenth of
#: Kafka's default, as Kafka itself does for its consumer offsets.
_COMPACT_SEGMENT_BYTES: Final = 100 * 1024 * 1024
_WITH_BODIES: Final = frozenset({RAW, DEAD})
_CLEANUP: Final = "cleanup.policy"
_RETENTION: Final = "retention.ms"


class BrokerError(Exception):
    """No broker could be asked, or it refused; the text is one line with the addresses and what to do."""


class Bound(Enum):
    """Which values of a setting will do."""

    EXACT = auto()
    AT_LEAST = auto()
    AT_MOST = auto()


class Setting(NamedTuple):
    """One of Kafka's settings of a topic, under Kafka's name and with its text."""

    name: str
    value: str
    bound: Bound = Bound.EXACT


class Expected(NamedTuple):
    """A topic as it should be, under its full name. `partitions` is `None` where any number will do."""

    name: str
    partitions: int | None
    replicas: int
    settings: tuple[Setting, ...]


class Found(NamedTuple):
    """A topic as a broker describes it; `replicas` are those of the partition that has the fewest."""

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]


def as_made(expected: Expected) -> Found:
    """What a topic looks like when it was made as expected."""
    partitions = expected.partitions or PARTITIONS_WHERE_ANY
    settings = {setting.name: setting.value for setting in expected.settings}
    return Found(expected.name, partitions, expected.replicas, settings)


class Made(NamedTuple):
    """What became of topics that were to be made; one in neither was there already, made by somebody quicker."""

    created: frozenset[str]
    refused: Mapping[str, str]


class Difference(NamedTuple):
    """One thing about a topic that is not as it should be: what is, what was expected, and the way out."""

    what: str
    found: str
    expected: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what} is {self.found}, expected {self.expected}; {self.advice}"


def expected_topics(kafka: KafkaSettings, *, body_bytes: int) -> tuple[Expected, ...]:
    """The topics that have a use today; `body_bytes` is the largest body the gateway takes."""
    return tuple(_expected(topic, kafka, body_bytes) for topic in IN_USE)


def largest_record_bytes(body_bytes: int) -> int:
    """What a record with the largest body may take, its headers included: `raw` and `dead` hold it."""
    return max(_BATCH_BYTES, body_bytes + _HEADERS_BYTES)


def _expected(topic: Topic, kafka: KafkaSettings, body_bytes: int) -> Expected:
    message_bytes = largest_record_bytes(body_bytes) if topic in _WITH_BODIES else _BATCH_BYTES
    settings = [
        Setting(_CLEANUP, topic.cleanup),
        Setting("min.insync.replicas", str(kafka.min_insync_replicas)),
        Setting("max.message.bytes", str(message_bytes), Bound.AT_LEAST),
    ]
    if topic.retention_days is not None:
        settings.append(Setting(_RETENTION, str(topic.retention_days * _DAY_MS)))
    if topic.cleanup is not Cleanup.DELETE:
        settings.append(Setting("segment.bytes", str(_COMPACT_SEGMENT_BYTES), Bound.AT_MOST))
    partitions = kafka.partitions if topic in BY_MESSAGE else None
    return Expected(kafka.topic_prefix + topic.name, partitions, kafka.replication_factor, tuple(settings))


def differences(expected: Expected, found: Found, *, broker: str) -> list[Difference]:
    """What is not as it should be; `broker` is the address the commands of the advice name."""
    return [*_partitions(expected, found), *_replicas(expected, found), *_settings(expected, found, broker)]


def _partitions(expected: Expected, found: Found) -> Iterator[Difference]:
    if expected.partitions not in {None, found.partitions}:
        # Kafka can add some, but then a message's next record lies in another partition than its state.
        advice = (
            f"set kafka.partitions = {found.partitions} if every topic keyed by message has as many, else delete the"
            " topic once it is of no more use and run `sendtrace topics create`"
        )
        yield Difference("partitions", str(found.partitions), str(expected.partitions), advice)


def _replicas(expected: Expected, found: Found) -> Iterator[Difference]:
    if found.replicas < expected.replicas:
        advice = f"add some with kafka-reassign-partitions.sh, or set kafka.replication_factor = {found.replicas}"
        yield Difference("replication", str(found.replicas), str(expected.replicas), advice)


def _settings(expected: Expected, found: Found, broker: str) -> Iterator[Difference]:
    for setting in expected.settings:
        value = found.settings.get(setting.name, "not told")
        if not _will_do(setting, value):
            # Kafka's tool wants brackets around a value with a comma.
            wanted = f"[{setting.value}]" if "," in setting.value else setting.value
            advice = (
                f"run kafka-configs.sh --bootstrap-server {broker} --alter --entity-type topics --entity-name"
                f" {expected.name} --add-config {setting.name}={wanted}"
            )
            yield Difference(setting.name, value, _bound_text(setting), advice)


def _will_do(setting: Setting, value: str) -> bool:
    if setting.name == _CLEANUP:
        return set(value.replace(" ", "").split(",")) == set(setting.value.split(","))
    try:
        given, wanted = int(value), int(setting.value)
    except ValueError:
        return False
    if setting.bound is Bound.AT_LEAST:
        return given >= wanted
    return given <= wanted if setting.bound is Bound.AT_MOST else given == wanted


def _bound_text(setting: Setting) -> str:
    words = {Bound.EXACT: "", Bound.AT_LEAST: "at least ", Bound.AT_MOST: "at most "}
    return words[setting.bound] + setting.value


def described(found: Found) -> str:
    """A topic in a line for people: `6 partitions, 3 replicas, delete after 30 days, 2 in sync`."""
    partitions = "1 partition" if found.partitions == 1 else f"{found.partitions} partitions"
    replicas = "1 replica" if found.replicas == 1 else f"{found.replicas} replicas"
    return f"{partitions}, {replicas}, {policy_text(found)}"


def policy_text(found: Found) -> str:
    """What becomes of the records of a topic: `delete after 30 days, 2 in sync`."""
    cleanup = found.settings.get(_CLEANUP, "not told")
    kept = f" {_when(found.settings.get(_RETENTION, '?'))}" if "delete" in cleanup else ""
    return f"{cleanup}{kept}, {found.settings.get('min.insync.replicas', '?')} in sync"


def _when(retention_ms: str) -> str:
    if retention_ms == "-1":
        return "never"
    whole = retention_ms.isdigit() and int(retention_ms) % _DAY_MS == 0
    return f"after {int(retention_ms) // _DAY_MS} days" if whole else f"after {retention_ms} ms"


class Looked(NamedTuple):
    """A topic of the catalogue beside what the broker has of it; `found` is `None` where it has none."""

    expected: Expected
    found: Found | None
    differences: Sequence[Difference]


def compare(expected: Iterable[Expected], found: Mapping[str, Found], *, broker: str) -> list[Looked]:
    """Each topic that should be, in that order; what else the broker has is not ours to judge."""
    looked = []
    for topic in expected:
        there = found.get(topic.name)
        looked.append(Looked(topic, there, differences(topic, there, broker=broker) if there else ()))
    return looked
