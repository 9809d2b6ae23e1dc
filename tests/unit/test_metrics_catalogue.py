"""The catalogue of metrics: complete, of one style, and exactly what a scrape gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.counters import Counters
from ingest.file_log import LogStats
from sendtrace import metrics
from sendtrace.metrics import CATALOGUE, INCIDENTS, NOTIFICATIONS, ON_KAFKA, PARQUET, SINK, WORKER, Kind, Metric
from sendtrace.metrics_collector import SendtraceCollector, exposition, registry_of
from sendtrace.read_side import LogView, ReadSide
from sinks.tables.sqlite_reader import SqliteReader

UNITS = ("bytes", "seconds")
SORTED = sorted({*CATALOGUE, *NOTIFICATIONS, *INCIDENTS, *ON_KAFKA, *PARQUET, *SINK, *WORKER})


@pytest.fixture
def side(tmp_path: Path) -> Iterator[ReadSide]:
    """A sendtrace that has just been started for the first time."""
    log = LogView(tmp_path / "raw", durable_end=lambda: 0)
    reader = SqliteReader(tmp_path / "tables.db")
    yield ReadSide(
        reader=reader,
        log=log,
        gateway_counters=lambda: Counters.of(["braze"]),
        log_stats=LogStats,
        durable_end=lambda: 0,
        processor_restarts=lambda: 0,
        processor_alive=lambda: True,
        can_keep=lambda: True,
    )
    reader.close()
    log.close()


def test_every_metric_is_in_the_catalogue_once() -> None:
    named = [value for value in vars(metrics).values() if isinstance(value, Metric)]

    assert sorted(named) == SORTED
    assert len({metric.name for metric in named}) == len(named)


@pytest.mark.parametrize("metric", SORTED, ids=lambda metric: metric.name)
def test_a_name_says_kind_and_unit(metric: Metric) -> None:
    assert re.fullmatch(r"sendtrace_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    units = [unit for unit in UNITS if unit in metric.name.split("_")]
    assert [metric.name.removesuffix("_total").endswith(unit) for unit in units] == [True] * len(units)


@pytest.mark.parametrize("metric", SORTED, ids=lambda metric: metric.name)
def test_a_metric_is_explained_in_a_sentence(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z01].{15,}\.", metric.help)


def test_a_scrape_gives_the_catalogue_and_nothing_else_of_ours(side: ReadSide) -> None:
    families = list(text_string_to_metric_families(exposition(registry_of(SendtraceCollector(side))).decode()))
    ours = {family.name: family for family in families if family.name.startswith("sendtrace_")}

    assert sorted(ours) == sorted(metric.name.removesuffix("_total") for metric in CATALOGUE)
    for metric in CATALOGUE:
        family = ours[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
        assert {tuple(sample.labels) for sample in family.samples} == {(metric.label.value,) if metric.label else ()}


def test_memory_and_descriptors_of_the_process_come_along(side: ReadSide) -> None:
    scraped = exposition(registry_of(SendtraceCollector(side))).decode()

    assert "process_resident_memory_bytes" in scraped
    assert "process_open_fds" in scraped
