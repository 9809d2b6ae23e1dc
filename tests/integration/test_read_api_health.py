"""Liveness, readiness and metrics, in good times and bad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.auth import Denial
from ingest.counters import Counters
from ingest.file_log import LogStats
from schemas.rejections import RejectReason
from sendtrace import web_health
from sendtrace.web import admin_app
from sendtrace.web_health import livez
from tests.integration.read_api_rig import Client, asking, serving, side_of
from tests.integration.read_rig import Plant, Sent, braze, nrs

Samples = dict[tuple[str, str], float]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        yield made


@pytest.fixture
def client(plant: Plant) -> Iterator[Client]:
    with asking(plant) as made:
        yield made


def scraped(client: Client) -> Samples:
    """(name, value of its label) → number."""
    answered = client.get("/metrics")
    assert answered.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(answered.body.decode())
    return {
        (sample.name, "".join(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_alive_is_answered_on_the_event_loop_itself(client: Client) -> None:
    assert client.get("/livez").json == {"alive": True}
    assert livez.__code__.co_flags & 0x80, "a coroutine, or Starlette would ask a thread"


def test_ready_says_how_each_part_is(plant: Plant, client: Client) -> None:
    plant.fold(braze("d1", "sent"))
    folded = plant.log_reader.end_position()
    plant.keep(braze("d2", "sent"))
    end = plant.log_reader.end_position()

    ready = client.get("/readyz")

    assert ready.status == 200
    assert ready.json == {
        "ready": True,
        "log": {"can_keep": True, "end_position": end},
        "processor": {"alive": True, "restarts": 0, "position": folded},
        "lag": {"bytes": end - folded},
    }


def test_not_ready_is_503_when_nothing_can_be_kept(plant: Plant) -> None:
    with serving(admin_app(side_of(plant, can_keep=lambda: False), token=None, host="127.0.0.1")) as client:
        refused = client.get("/readyz")

    assert (refused.status, refused.json["ready"], refused.json["log"]["can_keep"]) == (503, False, False)


def test_a_processor_that_is_down_is_shown_and_postbacks_are_still_taken(plant: Plant) -> None:
    side = side_of(plant, processor_alive=lambda: False, processor_restarts=lambda: 4)
    with serving(admin_app(side, token=None, host="127.0.0.1")) as client:
        ready = client.get("/readyz")

    assert ready.status == 200
    assert ready.json["processor"] == {"alive": False, "restarts": 4, "position": 0}


def test_tables_that_cannot_be_read_do_not_make_it_unready(plant: Plant, client: Client) -> None:
    plant.paths.tables.write_bytes(b"this is no database" * 100)

    ready = client.get("/readyz")

    assert (ready.status, ready.json["processor"]["position"], ready.json["lag"]["bytes"]) == (200, None, None)


def test_readiness_does_not_wait_for_a_disk_that_hangs(
    plant: Plant, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = Event()
    monkeypatch.setattr(web_health, "_PROBE_WAIT_S", 0.05)
    monkeypatch.setattr(plant.reader, "progress", lambda: back.wait(10))

    ready = client.get("/readyz")
    back.set()

    assert (ready.status, ready.json["processor"]["position"]) == (200, None)


def test_metrics_count_what_became_of_postbacks(plant: Plant, client: Client) -> None:
    plant.fold(braze("d1", "sent"), braze("d1", "sent"), Sent(b"no json"), nrs("id=1&event=sent&channel=sms"))
    plant.keep(braze("d2", "sent"), braze("d3", "sent"))

    samples = scraped(client)

    assert samples["sendtrace_postbacks_applied_total", "braze"] == 1
    assert samples["sendtrace_postbacks_applied_total", "nrs"] == 1
    assert samples["sendtrace_postbacks_duplicate_total", "braze"] == 1
    assert samples["sendtrace_postbacks_dead", "braze"] == 1
    assert samples["sendtrace_postbacks_dead", "nrs"] == 0
    assert samples["sendtrace_dead_letters_open", "invalid_json"] == 1
    assert samples["sendtrace_backlog_records", ""] == 2
    assert samples["sendtrace_tables_readable", ""] == 1


def test_metrics_say_where_log_and_tables_are(plant: Plant, client: Client) -> None:
    plant.fold(braze("d1", "sent"))
    folded = plant.log_reader.end_position()
    plant.keep(braze("d2", "sent"))
    end = plant.log_reader.end_position()

    samples = scraped(client)

    assert samples["sendtrace_processed_position_bytes", ""] == folded
    assert samples["sendtrace_log_end_position_bytes", ""] == end
    assert samples["sendtrace_backlog_bytes", ""] == end - folded


def test_metrics_show_the_numbers_counted_elsewhere_at_the_moment_of_the_scrape(plant: Plant) -> None:
    counters, stats = Counters.of(("braze",)), LogStats()
    side = side_of(plant, gateway_counters=lambda: counters, log_stats=lambda: stats, processor_restarts=lambda: 2)
    with serving(admin_app(side, token=None, host="127.0.0.1")) as client:
        before = scraped(client)
        counters.sources["braze"].accepted = 5
        counters.sources["braze"].kept = 4
        counters.refused["body_too_large"] = 3
        counters.denied[Denial.WRONG_TOKEN] = 2
        counters.open_connections, counters.in_flight_bytes = 7, 8
        stats.batches, stats.fsync_s, stats.failed_batches = 9, 0.5, 1
        after = scraped(client)

    changed = {key: value for key, value in after.items() if value != before[key] and key[0].startswith("sendtrace_")}
    assert changed == {
        ("sendtrace_postbacks_accepted_total", "braze"): 5,
        ("sendtrace_postbacks_kept_total", "braze"): 4,
        ("sendtrace_requests_refused_total", "body_too_large"): 3,
        ("sendtrace_requests_denied_total", "wrong_token"): 2,
        ("sendtrace_open_connections", ""): 7,
        ("sendtrace_in_flight_bytes", ""): 8,
        ("sendtrace_log_batches_total", ""): 9,
        ("sendtrace_log_fsync_seconds_total", ""): 0.5,
        ("sendtrace_log_failed_batches_total", ""): 1,
    }
    assert after["sendtrace_processor_restarts_total", ""] == 2


def test_every_series_is_there_before_anything_happened(client: Client) -> None:
    samples = scraped(client)

    assert {reason for name, reason in samples if name == "sendtrace_dead_letters_open"} == set(map(str, RejectReason))
    assert {cause for name, cause in samples if name == "sendtrace_requests_denied_total"} == set(map(str, Denial))
    assert {source for name, source in samples if name == "sendtrace_postbacks_applied_total"} == {"braze", "nrs"}
    assert all(value == 0 for (name, _), value in samples.items() if name.startswith("sendtrace_postbacks"))


def test_a_scrape_does_not_fail_with_the_tables(plant: Plant, client: Client) -> None:
    plant.paths.tables.write_bytes(b"this is no database" * 100)

    samples = scraped(client)

    assert samples["sendtrace_tables_readable", ""] == 0
    assert samples["sendtrace_can_keep", ""] == 1
    assert ("sendtrace_processed_position_bytes", "") not in samples
