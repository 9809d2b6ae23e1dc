"""`sendtrace incidents`: what is open, the whole story of one, and orders that are kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.codec import check
from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident
from sinks.tables.asking import asking_sqlite
from tests.integration.read_rig import Plant, braze
from tests.postgres.incident_rows_rig import at, change, deliver, incident, put, sample
from tests.unit.cli_rig import Ran, Shell

EVIL = "550 \x1b[31m\u202e<script>\n no"
ONE = incident("ab12", samples=[sample(reason=EVIL), sample(message_id=None, status="dead", reason=None)])
WORSE = incident("cd34", severity="critical", title="Templates of campaign c2 fail", total=None, source="nrs")
OVER = incident("ef56", state="resolved", resolved_at=at(9), acknowledged_at=at(8), **{"class": None})


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    """Tables with a message and three incidents, one of which was told about."""
    with Plant(tmp_path) as plant:
        plant.fold(braze("d1", "bounced"))
        opened = change(ONE, "opened", 1, count=50)
        with closing(sqlite3.connect(plant.paths.tables)) as db, db:
            ask = asking_sqlite(db)
            put(ask, ONE, WORSE, OVER, changes=(opened,))
            deliver(ask, opened, seq=1, state="parked", reason="gave up after 24 h", answer="500 no", attempts=9)
        yield plant


@pytest.fixture
def shell(plant: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(plant.paths.directory)
    return Shell(plant.paths.directory, capsys)


def incidents(shell: Shell, command: str = "") -> Ran:
    return shell(f"incidents {command} --data .")


@pytest.mark.parametrize("command", ["", "list"])
def test_what_is_open_is_listed_the_worst_first(shell: Shell, command: str) -> None:
    ran = incidents(shell, command)

    assert ran.code == 0
    assert ran.lines[0].split() == ["incident", "severity", "age", "count", "last", "what", "happened"]
    assert [line[:18] for line in ran.lines[1:3]] == ["cd34cd34  critical", "ab12ab12  error   "]
    assert ran.lines[2].endswith("the mailbox does not exist · 1 notification parked")
    assert ran.lines[3:] == ["`sendtrace incidents show cd34cd34` tells the whole story of one."]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--state all", ["cd34", "ab12", "ef56"]),
        ("--state resolved", ["ef56"]),
        ("--severity error", ["ab12"]),
        ("--source nrs", ["cd34"]),
        ("--campaign c1 --class unknown_recipient --state all", ["cd34", "ab12"]),
        ("--limit 1 --state all", ["ef56"]),
    ],
)
def test_the_list_can_be_narrowed(shell: Shell, options: str, expected: list[str]) -> None:
    lines = incidents(shell, f"list {options}").lines

    assert [line[:4] for line in lines[1:] if line[:4] in {"ab12", "cd34", "ef56"}] == expected


def test_a_full_list_says_that_there_is_more(shell: Shell) -> None:
    assert incidents(shell, "list --limit 1").lines[-1] == "… and more; these are the 1 with the latest news"


def test_the_list_for_machines_is_that_of_the_read_api(shell: Shell) -> None:
    told = json.loads(incidents(shell, "--json").out)

    assert [check(Incident, one)["incident_id"][:4] for one in told["incidents"]] == ["cd34", "ab12"]
    assert told["next_cursor"] is None


def test_an_empty_list_says_so(shell: Shell) -> None:
    assert incidents(shell, "list --source nobody").out == "none: nothing is known to be wrong\n"
    assert incidents(shell, "list --state all --source nobody").out == "none: there is no such incident\n"


def test_the_story_says_what_happened_what_to_do_and_who_was_told(shell: Shell) -> None:
    lines = incidents(shell, "show ab12ab").lines

    assert lines[0] == ONE["title"]
    assert lines[1].startswith("error · open for ")
    assert "count     1,204 of 20,000 (6 %) in 5.0 min" in lines
    assert "class     unknown_recipient: The receiver has no such mailbox." in lines
    assert f"incident  {ONE['incident_id']}" in lines
    assert f"to do     {ONE['advice']}" in lines
    assert r"2020-09-01 10:00:00  bounced  550 \x1b[31m\u202e<script>\n no" in lines
    assert f"    sendtrace show {ONE['samples'][0]['message_id']}" in lines
    assert f"    sendtrace dead show {ONE['samples'][1]['receipt_id']}" in lines
    assert lines[-4:] == [
        "2020-09-01 10:01:00  opened     50  error",
        "",
        "who was told",
        "2020-09-01 10:01:00  opened     pager  parked: gave up after 24 h; 500 no; 9 attempts",
    ]


def test_the_story_of_one_that_is_over_and_that_nobody_was_told_of(shell: Shell) -> None:
    lines = incidents(shell, "show ef56ef56").lines

    assert lines[1] == "error · resolved at 2020-09-01 10:09:00 · acknowledged"
    assert lines[-3:] == ["what happened: nothing yet", "", "who was told: nobody"]


def test_the_story_for_machines_is_that_of_the_read_api(shell: Shell) -> None:
    told = check(IncidentDetail, json.loads(incidents(shell, f"show {ONE['incident_id'].upper()} --json").out))

    assert told["samples"] == ONE["samples"]
    assert told["notifications"][0]["state"] == "parked"


def test_a_message_shows_its_incidents(plant: Plant, shell: Shell) -> None:
    (message,) = plant.reader.messages().items
    with closing(sqlite3.connect(plant.paths.tables)) as db, db:
        db.execute("UPDATE incident_samples SET message_id = ?", (message["message_id"],))

    lines = shell("show d1 --data .").lines

    assert f"incident   open  ab12ab12  {ONE['title']}" in lines
    assert f"incident   resolved  ef56ef56  {OVER['title']}" in lines


def test_who_takes_it_on_is_seen(shell: Shell) -> None:
    assert incidents(shell, "ack ab12ab").out == f"acknowledged: ab12ab12  {ONE['title']}\n"
    assert incidents(shell, "ack ab12ab").out == f"acknowledged, and was before: ab12ab12  {ONE['title']}\n"
    assert " · acknowledged · 1 notification parked" in incidents(shell).lines[2]


def test_one_is_silenced_and_not_any_more(shell: Shell) -> None:
    silenced = incidents(shell, "silence cd34cd --for 2h")
    listed, silences = incidents(shell).lines[1], incidents(shell, "silences").lines

    assert silenced.out.startswith("silenced until ")
    assert "Templates of campaign c2 fail · silenced until " in listed
    assert silences[1].endswith("cd34cd34  Templates of campaign c2 fail")
    assert incidents(shell, "unsilence cd34cd").out == "no longer silenced: cd34cd34  Templates of campaign c2 fail\n"
    assert incidents(shell, "silences").out == "none: everybody is told of everything\n"


def test_a_label_is_silenced_and_not_any_more(shell: Shell) -> None:
    silenced = incidents(shell, "silence campaign=c1 --for 3d")

    assert silenced.out.endswith(" UTC: campaign_id=c1, 2 open now\n")
    assert incidents(shell, "silences").lines[1].split()[2:] == ["campaign_id=c1"]
    (told,) = json.loads(incidents(shell, "silences --json").out)["silences"]
    assert (told["label"], told["value"]) == ("campaign_id", "c1")
    assert incidents(shell, "unsilence campaign_id=c1").out == "no longer silenced: campaign_id=c1\n"
    assert incidents(shell, "unsilence campaign=c1").err == (
        "sendtrace: campaign_id=c1 is not silenced; `sendtrace incidents silences` shows what is\n"
    )


def test_one_is_resolved_by_hand_once(shell: Shell) -> None:
    assert incidents(shell, "resolve ab12ab").out == f"resolved: ab12ab12  {ONE['title']}\n"
    assert incidents(shell, "resolve ab12ab").out.startswith("ab12ab12 is resolved already since 2")
    told = check(IncidentDetail, json.loads(incidents(shell, "show ab12ab --json").out))
    assert (told["state"], [step["change"] for step in told["changes"]]) == ("resolved", ["opened", "resolved"])


@pytest.mark.parametrize("command", ["show", "ack", "resolve", "silence --for 2h", "unsilence"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("0000000", "there is no incident 0000000; `sendtrace incidents list --state all` shows them"),
        ("ab12", "there is no incident ab12; give at least 6 characters; `sendtrace incidents list"),
        ("ab12ab'\x1b", r"there is no incident ab12ab'\x1b; `sendtrace"),
    ],
)
def test_a_name_of_no_incident_is_one_line(shell: Shell, command: str, name: str, told: str) -> None:
    ran = incidents(shell, f'{command} "{name}"')

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith(f"sendtrace: {told}")


def test_a_beginning_of_several_names_them(plant: Plant, shell: Shell) -> None:
    twin = incident("ab12", samples=[])
    with closing(sqlite3.connect(plant.paths.tables)) as db, db:
        put(asking_sqlite(db), {**twin, "incident_id": "ab12ab12ab99"})

    ran = incidents(shell, "ack ab12ab12")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "sendtrace: ab12ab12 is the beginning of several incidents: ab12ab12ab12, ab12ab12ab99; give more of it\n"
    )


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("silence capaign=c1 --for 2h", "there is no label capaign; did you mean campaign_id?"),
        ("silence source= --for 2h", "source= has no value; expected LABEL=VALUE"),
        ("silence severity=eror --for 2h", "eror is none; did you mean error?"),
        ("silence source=braze --for 2x", "expected a length of time such as 30m, 2h or 3d"),
        ("silence source=braze --for 0m", "expected a length of time such as 30m, 2h or 3d"),
        ("silence source=braze --for 367d", "at most 366d"),
    ],
)
def test_an_order_that_is_not_understood_is_one_line(shell: Shell, command: str, told: str) -> None:
    ran = incidents(shell, command)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err
