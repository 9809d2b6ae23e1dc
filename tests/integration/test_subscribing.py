"""The programs of docs/subscribing.md as they stand there: they type-check, run, and print what happened."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from mypy import api

from processors.classify import Classifier
from processors.faust_shell.outbox import Brokers, Outbox
from processors.normalize import Normalizer
from processors.partition import PartitionProcessor
from processors.tallies import Tallies
from schemas.incidents import Incident, IncidentChange
from schemas.kafka_alerts import alert_output
from schemas.kafka_outputs import outputs_of
from schemas.postback import KIND_POSTBACK, LogRecord, Postback
from schemas.topics import ALERTS
from tests.e2e.program import ROOT
from tests.faults.worker_rig import topics
from tests.integration.read_rig import MIDNIGHT_MS, braze
from tests.kafka.kafka_rig import Kafka
from tests.property.test_tallies_properties import Kept

PAGE: Final = (ROOT / "docs" / "subscribing.md").read_text(encoding="utf-8")
PROGRAMS: Final = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
#: By topic, what a program prints of the postbacks below; `ID` stands for a message id.
PRINTED: Final = {
    "failures": ["aborted abort_no_address User not emailable ID"],
    "transitions": ["order-1 None -> sent", "order-1 sent -> delivered", "order-2 None -> aborted"],
    "status": ["1 messages; last: ID delivered", "2 messages; last: ID aborted"],
    "tallies": ["braze welcome {'sent': 1, 'delivered': 1, 'aborted': 1}"],
    "alerts": ["open error 1 An abort"],
    "dead": ["braze invalid_json The body is not JSON: line 1, column 1 cannot be read. 7 bytes"],
}
AT: Final = "2026-11-21T00:00:00.000Z"
INCIDENT: Final[Incident] = {
    "incident_id": "i1",
    "rule": "abort",
    "kind": "count",
    "severity": "error",
    "state": "open",
    "source": "braze",
    "provider": "braze",
    "campaign_id": "welcome",
    "class": "abort_no_address",
    "domain": None,
    "count": 1,
    "total": None,
    "first_seen": AT,
    "last_seen": AT,
    "opened_at": AT,
    "resolved_at": None,
    "title": "An abort",
    "advice": "Look.",
    "samples": [],
    "silenced_until": None,
    "acknowledged_at": None,
}
OPENED: Final[IncidentChange] = {"change_id": "c1", "change": "opened", "at": AT, "incident": INCIDENT}


def topic_of(program: str) -> str:
    (topic,) = re.findall(r'PREFIX \+ "(\w+)"', program)
    return str(topic)


def test_there_is_one_for_each_topic_that_others_may_read() -> None:
    assert [topic_of(program) for program in PROGRAMS] == list(PRINTED)


def test_they_are_typed(tmp_path: Path) -> None:
    for program in PROGRAMS:
        (tmp_path / f"{topic_of(program)}.py").write_text(program)
    told, _, code = api.run(["--strict", f"--config-file={ROOT / 'pyproject.toml'}", *map(str, tmp_path.iterdir())])
    assert code == 0, told


async def test_they_print_what_happened(kafka: Kafka, topic_prefix: str) -> None:
    await _write(kafka, topic_prefix)
    env = {**os.environ, "SENDTRACE_KAFKA": kafka.address, "SENDTRACE_KAFKA__TOPIC_PREFIX": topic_prefix}
    printed = await asyncio.gather(*(_lines(program, env) for program in PROGRAMS))

    for program, lines in zip(PROGRAMS, printed, strict=True):
        for line, expected in zip(lines, PRINTED[topic_of(program)], strict=True):
            assert re.fullmatch(re.escape(expected).replace("ID", "[0-9a-f]{32}"), line.strip()), line


async def _lines(program: str, env: dict[str, str]) -> list[str]:
    """As many as it is to print; then it is ended."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env=env, stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout
    try:
        return [(await running.stdout.readline()).decode() for _ in PRINTED[topic_of(program)]]
    finally:
        running.kill()
        await running.wait()


async def _write(kafka: Kafka, prefix: str) -> None:
    """What a worker writes of four postbacks, and one incident."""
    sent = [
        braze("d1", "sent", external_send_id="order-1", campaign_api_id="welcome"),
        braze("d1", "delivered", external_send_id="order-1", campaign_api_id="welcome"),
        braze("d2", "aborted", external_send_id="order-2", campaign_api_id="welcome", reason="User not emailable"),
    ]
    records = [
        LogRecord(
            offset,
            Postback("braze", "braze", KIND_POSTBACK, f"r{offset}", MIDNIGHT_MS, "application/json", "", body),
        )
        for offset, body in enumerate([*(one.body for one in sent), b"no JSON"])
    ]
    batch = PartitionProcessor(normalize=Normalizer(Classifier.load(None)), store=Kept()).handle(records)
    tallies = Tallies()
    tallies.add(batch)
    await topics(kafka.address, prefix, partitions=1)
    outbox = Outbox(Brokers(addresses=(kafka.address,), topic_prefix=prefix, group=f"{prefix}g"), 0)
    await outbox.open()
    outbox.put(outputs_of(batch, partition=0, next_offset=len(records)))
    outbox.put_tallies(tallies.take())
    await outbox.commit(len(records))
    await outbox.close()
    alert = alert_output(OPENED)
    async with AIOKafkaProducer(bootstrap_servers=kafka.address) as producer:
        await producer.send_and_wait(f"{prefix}{ALERTS.name}", alert.value, alert.key, headers=alert.headers)
