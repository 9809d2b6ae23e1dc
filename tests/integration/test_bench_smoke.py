"""Every benchmark at a tiny size: that it runs to its end, and prints what docs/benchmarks.md is made from.

What it measures here means nothing; no figure is looked at.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import orjson
import pytest

from tests.unit.project_tree import ROOT

RUN = ROOT / "tests" / "bench" / "run.py"
RATES = {"per_s", "rows_per_s", "backlog_s", "gateway_cpu_s", "processor_cpu_s"}
#: A broker has to come up, and several workers after it.
KAFKA_S = 180
STEADY = {"probes", "visible_p50_ms", "visible_p99_ms", "visible_max_ms", "answer_p99_ms"}
ON_KAFKA = {"gateway-kafka", "processing", "latency-kafka", "recovery-kafka"}


@pytest.fixture
def broker_can_be_started(start_kafka: object) -> None:
    """Each of these benchmarks starts its own; where that is not possible the test is not for it to fail."""
    del start_kafka


@cache
def _printed(name: str) -> dict[str, Any]:
    arguments = [name, "--seconds", "0.3", "--rounds", "1", "--scale", "0.01" if name in ON_KAFKA else "0.02"]
    done = subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["gateway", "pipeline", "core", "memory", "layout"])
def test_a_benchmark_prints_one_object_that_names_its_machine(name: str) -> None:
    printed = _printed(name)

    assert printed["benchmark"] == name
    assert {"cores", "python", "filesystem"} <= printed["machine"].keys()


def test_gateway_holds_every_case_to_the_bare_application() -> None:
    cases = _printed("gateway")["result"]["cases"]

    assert cases.keys() == {"asgi", "nothing", "durable", "durable_own_heads"}
    assert cases["asgi"]["per_s_to_asgi"] == 1
    assert all(case["per_cpu_s_to_asgi"] > 0 and case["p99_ms"] >= case["p50_ms"] > 0 for case in cases.values())


def test_pipeline_tells_both_sides_of_the_way_to_a_row() -> None:
    result = _printed("pipeline")["result"]

    assert result.keys() == {"paced_2000", "paced_15000", "closed_loop"}
    assert result["paced_2000"].keys() >= STEADY
    assert result["paced_15000"].keys() >= RATES
    assert result["closed_loop"]["accepted"] > 0


def test_core_is_held_to_what_serializing_alone_costs() -> None:
    result = _printed("core")["result"]

    assert result["duplicates"] > 0
    assert 0 < result["to_limit"] < 1


def test_memory_tells_three_stages() -> None:
    stages = _printed("memory")["result"]["stages"]

    assert [stage["messages"] for stage in stages] == [400, 2_000, 6_000]
    assert all(stage["resident_bytes"] > 0 for stage in stages)


def test_layout_holds_the_process_to_the_thread() -> None:
    result = _printed("layout")["result"]

    assert result["process"].keys() == result["thread"].keys()
    assert result["process_to_thread"].keys() == {
        *("paced_answer_p99_ms", "closed_loop_per_s", "closed_loop_rows_per_s", "closed_loop_p99_ms"),
    }


@pytest.mark.timeout(KAFKA_S)
@pytest.mark.usefixtures("broker_can_be_started")
def test_gateway_on_kafka_is_held_to_servers_that_keep_nothing() -> None:
    result = _printed("gateway-kafka")["result"]

    assert result["servers"].keys() >= {"asgi", "nothing", "kafka"}
    assert result["servers"]["kafka"]["to_asgi"]["per_cpu_s"] > 0
    assert result["kept"] > 0


@pytest.mark.timeout(KAFKA_S)
@pytest.mark.usefixtures("broker_can_be_started")
def test_processing_is_held_to_a_plain_loop_and_to_an_ordinary_agent() -> None:
    result = _printed("processing")["result"]

    assert result["contenders"].keys() == {"worker", "plain", "faust"}
    assert result["to_plain"].keys() == result["to_faust"].keys() >= {"events_per_s", "events_per_cpu_s"}


@pytest.mark.timeout(KAFKA_S)
@pytest.mark.usefixtures("broker_can_be_started")
def test_latency_on_kafka_tells_of_every_postback() -> None:
    result = _printed("latency-kafka")["result"]

    assert all(result[name]["postbacks"] == 6 for name in ("worker", "post", "plain"))
    assert all(result[name]["visible_p99_ms"] >= result[name]["visible_p50_ms"] for name in ("worker", "post"))


@pytest.mark.timeout(KAFKA_S)
@pytest.mark.usefixtures("broker_can_be_started")
def test_recovery_on_kafka_tells_three_stages() -> None:
    stages = _printed("recovery-kafka")["result"]["stages"]

    assert [stage["from_topic"]["recovered"] for stage in stages] == [100, 1_000, 10_000]
    assert stages[-1]["from_disk"]["recovered"] == 0
