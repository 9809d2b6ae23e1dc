"""Incidents over HTTP: every answer as its record says, filters, refusals, and the pages for people."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.codec import check
from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident
from schemas.records import MessageDetail
from sinks.tables.asking import asking_sqlite
from tests.integration.read_api_rig import Client, asking
from tests.integration.read_rig import Plant, Sent, braze
from tests.postgres.incident_rows_rig import at, change, deliver, incident, put, put_in_sqlite, sample

EVIL = "<script>alert(1)</script>\"'&\0\u202e\r\n two"
TEXT = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;\ufffd\ufffd two"


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with Plant(tmp_path) as made:
        made.fold(braze("d1", "bounced", reason=EVIL), Sent(b"no json"))
        yield made


@pytest.fixture
def client(plant: Plant) -> Iterator[Client]:
    with asking(plant) as made:
        yield made


def told(plant: Plant) -> Incident:
    """An incident with everything: samples, a message of ours, history, notifications; all of it from strangers."""
    (message,) = plant.reader.messages().items
    samples = [sample(message_id=message["message_id"], reason=EVIL), sample(message_id=None, status=EVIL, reason=None)]
    strange = dict.fromkeys(("title", "advice", "source", "provider", "campaign_id", "domain", "class", "rule"), EVIL)
    one = incident("ab12", samples=samples, severity="critical", acknowledged_at=at(9), **strange)
    opened, escalated = change(one, "opened", 1, count=50), change(one, "escalated", 4)
    with closing(sqlite3.connect(plant.paths.tables)) as db, db:
        ask = asking_sqlite(db)
        put(ask, one, changes=(opened, escalated))
        deliver(ask, opened, seq=1, target=EVIL)
        deliver(ask, escalated, seq=2, state="parked", reason=EVIL, answer=EVIL, attempts=9)
    return one


def seen(html: str) -> str:
    """What a person reads."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_the_list_has_every_incident_as_its_record_says(plant: Plant, client: Client) -> None:
    ours = [incident("b"), incident("a")]
    put_in_sqlite(plant.paths.tables, *ours)

    listed = client.get("/v1/incidents").json

    assert listed == {"incidents": ours, "next_cursor": None}
    assert [check(Incident, one) for one in listed["incidents"]] == ours


def test_the_list_goes_on_where_a_page_ended(plant: Plant, client: Client) -> None:
    put_in_sqlite(plant.paths.tables, incident("a"), incident("b"), incident("c", last_seen=at(9)))

    first = client.get("/v1/incidents", {"limit": 2}).json
    second = client.get("/v1/incidents", {"limit": 2, "cursor": first["next_cursor"]}).json

    assert [one["incident_id"][0] for one in (*first["incidents"], *second["incidents"])] == ["c", "b", "a"]
    assert second["next_cursor"] is None


def test_every_filter_holds(plant: Plant, client: Client) -> None:
    more = {"severity": "critical", "source": "nrs", "campaign_id": "9", "rule": "blocks", "class": "blocked"}
    put_in_sqlite(plant.paths.tables, incident("a"), incident("b", state="resolved", **more))

    found = {name: client.get("/v1/incidents", {name: value}).json["incidents"] for name, value in more.items()}
    over = client.get("/v1/incidents", {"state": "resolved"}).json["incidents"]

    assert found == dict.fromkeys(more, over)
    assert [one["incident_id"][0] for one in over] == ["b"]


REFUSED = (
    ({"cursor": "x"}, "bad_cursor"),
    ({"limit": "0"}, "bad_parameter"),
    ({"limit": "1001"}, "bad_parameter"),
    ({"state": "all"}, "bad_parameter"),
    ({"severity": "eror"}, "bad_parameter"),
    ({"source": ""}, "bad_parameter"),
    ({"campaign": "c1"}, "unknown_parameter"),
)


def test_what_is_wrong_with_a_question_is_said(client: Client) -> None:
    assert [client.get("/v1/incidents", asked).error for asked, _ in REFUSED] == [(400, code) for _, code in REFUSED]


def test_one_comes_with_its_history_and_who_was_told(plant: Plant, client: Client) -> None:
    one = told(plant)

    found = check(IncidentDetail, client.get(f"/v1/incidents/{one['incident_id']}").json)

    assert {**found, "changes": [], "notifications": []} == {**one, "changes": [], "notifications": []}
    assert [step["change"] for step in found["changes"]] == ["opened", "escalated"]
    assert [(row["target"], row["state"]) for row in found["notifications"]] == [
        (EVIL, "delivered"),
        ("pager", "parked"),
    ]


def test_what_is_not_there_is_404(client: Client) -> None:
    paths = ("/v1/incidents/none", "/incidents/none", "/incidents/%00", "/messages/none")

    assert [client.get(path).error for path in paths] == [(404, "not_found")] * len(paths)


def test_a_message_says_which_incidents_it_is_a_sample_of(plant: Plant, client: Client) -> None:
    one = told(plant)

    detail = check(MessageDetail, client.get(f"/v1/messages/{one['samples'][0]['message_id']}").json)

    assert detail["incidents"] == [{"incident_id": one["incident_id"], "title": EVIL, "state": "open"}]


def test_nothing_can_be_changed_here(plant: Plant, client: Client) -> None:
    one = told(plant)

    for method in ("POST", "PUT", "DELETE", "PATCH"):
        for path in ("/v1/incidents", "/incidents"):
            refused = client.get(f"{path}/{one['incident_id']}", method=method).error
            assert refused == (405, "method_not_allowed")


def test_the_page_shows_what_is_open_the_worst_first(plant: Plant, client: Client) -> None:
    put_in_sqlite(
        plant.paths.tables,
        incident("a", last_seen=at(9), title="less"),
        incident("b", severity="critical", title="worse", acknowledged_at=at(9)),
        incident("c", state="resolved", title="over"),
    )

    page = seen(client.get("/").body.decode())

    assert "critical worse acknowledged 1,204 2020-09-01 10:00:00 unknown_recipient error less 1,204" in page
    assert "over" not in page


def test_the_page_shows_a_number_of_many(plant: Plant, client: Client) -> None:
    put_in_sqlite(plant.paths.tables, *(incident(f"{number:03d}", samples=[]) for number in range(112)))

    html = client.get("/").body.decode()

    assert html.count('href="/incidents/') == 10
    assert "102 more are open." in seen(html)


def test_the_page_of_an_incident_tells_the_whole_story(plant: Plant, client: Client) -> None:
    one = incident("ab12", samples=[sample(), sample(message_id=None, reason=None)])
    put_in_sqlite(plant.paths.tables, one, changes=(change(one, "opened", 1, count=50),))

    page = client.get(f"/incidents/{one['incident_id']}")
    words = seen(page.body.decode())

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "incident ab12ab12" in words
    assert f"{one['title']} Severity error State open since 2020-09-01 10:01:00" in words
    assert f"What to do {one['advice']}" in words
    assert "2020-09-01 10:00:00 bounced 550 5.1.1 No such user 0123456789ab" in words
    assert "no reason given no message: a dead letter" in words
    assert "2020-09-01 10:01:00 opened error 50" in words
    assert "Who was told Nobody" in words
    assert "sendtrace incidents ack ab12ab12" in words


@pytest.mark.parametrize("path", ["/", "/incidents/{incident}", "/messages/{message}"])
def test_what_strangers_wrote_stays_text(plant: Plant, client: Client, path: str) -> None:
    one = told(plant)
    names = {"incident": one["incident_id"], "message": one["samples"][0]["message_id"]}

    page = client.get(path.format(**names))
    html = page.body.decode()

    assert page.status == 200
    assert TEXT in html
    assert re.findall(r"<script|\u202e|\0|\bon\w+=|\bstyle=", html) == []
    assert "unsafe" not in page.headers["content-security-policy"]


def test_every_link_of_these_pages_leads_somewhere(plant: Plant, client: Client) -> None:
    one = told(plant)
    paths = [f"/incidents/{one['incident_id']}", f"/messages/{one['samples'][0]['message_id']}"]

    links = {unescape(link) for path in paths for link in re.findall(r'href="([^"]+)"', client.get(path).body.decode())}

    assert set(paths) < links
    assert {link: client.get(link).status for link in links} == dict.fromkeys(links, 200)


def test_open_incidents_are_a_metric_by_severity(plant: Plant, client: Client) -> None:
    put_in_sqlite(plant.paths.tables, incident("a"), incident("b"), incident("c", state="resolved", severity="info"))

    families = text_string_to_metric_families(client.get("/metrics").body.decode())

    (family,) = (family for family in families if family.name == "sendtrace_incidents_open")
    counts = {found.labels["severity"]: found.value for found in family.samples}
    assert counts == {"info": 0, "warning": 0, "error": 2, "critical": 0}
