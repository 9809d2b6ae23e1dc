"""Incidents of a running `sendtrace up`: open within seconds, exact after kills, settings that cannot work refused."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from processors.incidents.rules import DEFAULT_RULES
from tests.e2e.up_rig import Up

_WITHIN_S = 15


def abort(number: int) -> dict[str, object]:
    reason = "Liquid syntax error: Unknown tag 'connected_contentt'"
    metadata = {"reason": reason, "campaign_api_id": "spring", "external_send_id": f"order-{number}"}
    return {"dispatch_id": f"a{number}", "status": "aborted", "metadata": metadata}


def rows(directory: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{directory / 'data' / 'tables.db'}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()
    except sqlite3.OperationalError:  # not made yet
        return []


def until(directory: Path, query: str, wanted: list[tuple[Any, ...]]) -> None:
    give_up_s = time.monotonic() + _WITHIN_S
    while (found := rows(directory, query)) != wanted and time.monotonic() < give_up_s:
        time.sleep(0.05)
    assert found == wanted


def test_template_aborts_are_one_open_incident_within_seconds(
    tmp_path: Path, running: Up, paths: dict[str, str]
) -> None:
    for number in range(3):
        assert running.post(paths["braze"], abort(number)) == 200

    until(tmp_path, "SELECT rule, state, count, campaign_id FROM incidents", [("abort_template", "open", 3, "spring")])
    (found,) = running.ask("/v1/incidents")["incidents"]
    assert (found["class"], len(found["samples"])) == ("abort_template_error", 3)
    assert [change for (change,) in rows(tmp_path, "SELECT change FROM incident_changes")][:1] == ["opened"]
    assert rows(tmp_path, "SELECT count(*) FROM tallies") == [(0,)]


def test_incidents_go_on_where_they_were_after_a_restart(tmp_path: Path, running: Up, paths: dict[str, str]) -> None:
    assert running.post(paths["braze"], abort(1)) == 200
    until(tmp_path, "SELECT count FROM incidents", [(1,)])
    assert running.stop() == 0

    again = Up(tmp_path, "--port", "0", "--admin-port", "0")
    assert again.post(paths["braze"], abort(2)) == 200
    until(tmp_path, "SELECT count FROM incidents", [(2,)])
    assert again.stop() == 0

    assert rows(tmp_path, "SELECT change FROM incident_changes WHERE change = 'opened'") == [("opened",)]


def test_without_any_rule_tallies_do_not_pile_up(tmp_path: Path, paths: dict[str, str]) -> None:
    rules = ", ".join(f'"{rule.name}"' for rule in DEFAULT_RULES)
    with (tmp_path / "sendtrace.toml").open("a", encoding="utf-8") as settings:
        settings.write(f"\n[incidents]\ndisable = [{rules}]\n")
    up = Up(tmp_path, "--port", "0", "--admin-port", "0")
    assert up.post(paths["braze"], abort(1)) == 200

    until(tmp_path, "SELECT count(*), (SELECT count(*) FROM tallies) FROM messages", [(1, 0)])
    assert up.stop() == 0
    assert rows(tmp_path, "SELECT count(*) FROM incidents") == [(0,)]
