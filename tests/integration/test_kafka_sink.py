"""The tables sink on a real broker: each record once, whatever happens, and the tables of the embedded pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.kafka_tables_rig import Feeder, Sink, everything, feeding, make_topics, rows
from tests.integration.read_rig import braze, documented
from tests.kafka.kafka_rig import Kafka

SOME = [braze(f"d{number}", status) for number in range(20) for status in ("sent", "delivered")]


@pytest.fixture
async def feeder(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Feeder]:
    await make_topics(kafka.address, topic_prefix)
    async with feeding(kafka.address, topic_prefix, tmp_path) as feeder:
        yield feeder


@pytest.fixture
def sink(kafka: Kafka, topic_prefix: str, tmp_path: Path) -> Sink:
    return Sink(kafka.address, topic_prefix, tmp_path / "tables.db")


async def test_the_tables_are_those_of_the_embedded_pipeline(feeder: Feeder, sink: Sink) -> None:
    sent = documented()
    for start in range(0, len(sent), 10):
        await feeder.keep(*sent[start : start + 10], *sent[:2])
        await feeder.handle()
    count = len(rows(feeder.expected_path, "SELECT 1 FROM postbacks"))

    async with sink.running():
        await sink.has(count)

    assert count > len(sent)
    assert everything(sink.path) == everything(feeder.expected_path)
    assert rows(sink.path, "SELECT * FROM set_aside") == []
    assert rows(sink.path, "SELECT source, hour FROM audit WHERE accepted <> applied + duplicates + dead") == []
