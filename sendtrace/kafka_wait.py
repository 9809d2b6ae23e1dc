"""Waiting for brokers and topics before something starts that could say less well what it lacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from schemas.topics import Topic
from sendtrace.kafka_admin import look_for_topics
from sendtrace.kafka_topics import BrokerError
from sendtrace.settings_kafka import KafkaSettings

_PAUSE_S: Final = 1.0

_log = logging.getLogger(__name__)


async def until_topics_are_there(kafka: KafkaSettings, topics: Iterable[Topic]) -> None:
    """Returns when a broker answers and has all of `topics`; says what is missing, once for each change of it."""
    names = [f"{kafka.topic_prefix}{topic.name}" for topic in topics]
    said = ""
    while (missing := await _missing(kafka, names)) is not None:
        if missing != said:
            _log.warning("%s", missing)
            said = missing
        await asyncio.sleep(_PAUSE_S)


async def _missing(kafka: KafkaSettings, names: list[str]) -> str | None:
    try:
        found = await look_for_topics(kafka.bootstrap_servers, names)
    except BrokerError as error:
        return str(error)
    for name in names:
        if name not in found:
            return f"the topic {name} does not exist; run `sendtrace topics create`"
    return None
