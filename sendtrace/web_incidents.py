"""Incidents for people: the panel of those that are open, and a page for each.

What notifications link to is `/incidents/{incident_id}`.
"""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import Response

from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident, IncidentSample
from sendtrace.clock import SystemClock
from sendtrace.incident_words import fate, how_many, marks, short_id, worst_first
from sendtrace.read_side import Readable
from sendtrace.web_answers import ApiError
from sendtrace.web_html import HTML_HEADERS, document, part_of_path, second, table, text
from sinks.tables.pages import DEFAULT_ITEMS
from sinks.tables.tables_reader import IncidentsReader

_PANEL_ROWS: Final = 10
_REASON_CHARS: Final = 2_000
_NAME_CHARS: Final = 12
_MARKS: Final = {"critical": "bad", "error": "bad", "warning": "wait", "info": "dim"}
_STATES: Final = {"delivered": "good", "parked": "bad", "waiting": "wait", "dropped": "dim"}
_CLOCK: Final = SystemClock()


def open_incidents(reader: IncidentsReader) -> str:
    """Those that are open, the worst first. HTML."""
    found = reader.incidents(state="open", limit=DEFAULT_ITEMS).items
    if not found:
        return "<p>None.</p>"
    now_ms = _CLOCK.now_ms()
    rows = [
        (
            f'<td>{_severity(one)}</td><td><a href="{_path(one)}">{text(one["title"])}</a>'
            f'<span class="dim">{"".join(map(text, marks(one, now_ms=now_ms)))}</span></td>'
            f'<td class="number">{one["count"]:,}</td><td class="time">{second(one["first_seen"])}</td>'
            f"<td>{text(one['class'] or '')}</td>"
        )
        for one in worst_first(found)[:_PANEL_ROWS]
    ]
    more = sum(reader.open_incidents().values()) - len(rows)
    rest = f'<p class="dim"><a href="/v1/incidents?state=open">{more:,} more are open.</a></p>' if more > 0 else ""
    return table(("severity", "what happened", "count", "since (UTC)", "class"), rows) + rest


def incident_page(side: Readable, incident_id: str) -> Response:
    """One incident. Reads the disk: for the thread pool. Raises `ApiError`."""
    found = side.reader.incident(incident_id)
    if found is None:
        raise ApiError(404, "not_found", "there is no incident of this id; / lists those that are open")
    return Response(document(f"incident {escape(short_id(incident_id))}", _story(found)), headers=HTML_HEADERS)


def _story(incident: IncidentDetail) -> str:
    return "".join(
        (
            f'<h2 class="title">{text(incident["title"], most_chars=_REASON_CHARS)}</h2>',
            f'<section class="parts">{_parts(incident)}</section>',
            f"<h2>What to do</h2><p>{text(incident['advice'], most_chars=_REASON_CHARS)}</p>",
            f"<h2>What was said</h2>{_samples(incident['samples'])}",
            f"<h2>What it is about</h2>{_about(incident)}",
            f"<h2>History</h2>{_history(incident)}",
            f"<h2>Who was told</h2>{_told(incident)}",
            f"<h2>Taking it on</h2>{_commands(incident)}",
        )
    )


def _parts(incident: Incident) -> str:
    state = "open" if incident["state"] == "open" else "resolved"
    since = f"since {second(incident['opened_at'])}"
    if incident["resolved_at"] is not None and state == "resolved":
        since = f"at {second(incident['resolved_at'])}"
    done = " · ".join(marks(incident, now_ms=_CLOCK.now_ms()))
    cells = (
        ("Severity", incident["severity"], _MARKS[incident["severity"]], ""),
        ("State", state, "bad" if state == "open" else "good", " · ".join(filter(None, (since, done)))),
        ("Messages", f"{incident['count']:,}", "", how_many(incident) if incident["total"] else "in this spell"),
        ("First seen", second(incident["first_seen"]), "", f"last {second(incident['last_seen'])} (UTC)"),
    )
    return "".join(
        f'<div class="part"><span class="dim">{name}</span><b class="{mark}">{state}</b>{more}</div>'
        for name, state, mark, more in cells
    )


def _samples(samples: list[IncidentSample]) -> str:
    if not samples:
        return "<p>Nothing: no postback is behind it.</p>"
    rows = [
        (
            f'<td class="time">{second(sample["received_at"])}<span class="dim">{text(sample["status"])}</span></td>'
            f"<td>{text(sample['reason'] or 'no reason given', most_chars=_REASON_CHARS)}{_timeline(sample)}</td>"
        )
        for sample in samples
    ]
    return table(("received (UTC), status", "in the provider's own words, message"), rows)


def _timeline(sample: IncidentSample) -> str:
    if sample["message_id"] is None:
        return f'<span class="dim">{text("no message: a dead letter")}</span>'
    name = sample["message_id"]
    return f'<a href="/messages/{part_of_path(name)}"><code>{escape(name[:_NAME_CHARS])}</code></a>'


def _about(incident: Incident) -> str:
    named = (
        ("rule", f"{incident['rule']} ({incident['kind']})"),
        ("source", incident["source"]),
        ("provider", incident["provider"]),
        ("campaign", incident["campaign_id"]),
        ("class", incident["class"]),
        ("receiving domain", incident["domain"]),
        ("incident", incident["incident_id"]),
    )
    return table(
        (), [f'<td class="dim">{name}</td><td>{text(value)}</td>' for name, value in named if value], slim=True
    )


def _history(incident: IncidentDetail) -> str:
    if not incident["changes"]:
        return "<p>Nothing yet.</p>"
    rows = [
        f'<td class="time">{second(step["at"])}</td><td>{step["change"]}</td><td>{step["severity"]}</td>'
        f'<td class="number">{step["count"]:,}</td>'
        for step in incident["changes"]
    ]
    return table(("when (UTC)", "what", "severity", "count"), rows, slim=True)


def _told(incident: IncidentDetail) -> str:
    if not incident["notifications"]:
        return "<p>Nobody: no target of the settings wanted to know, or it is not its turn yet.</p>"
    rows = [
        (
            f'<td class="time">{second(row["settled_at"] or row["tried_at"] or row["taken_at"])}'
            f'<span class="dim">{text(row["change"])}</span></td><td>{text(row["target"])}'
            f'<span class="{_STATES[row["state"]]}">{text(fate(row), most_chars=_REASON_CHARS)}</span></td>'
        )
        for row in incident["notifications"]
    ]
    return table(("when (UTC), change", "target, what became of it"), rows)


def _commands(incident: Incident) -> str:
    """Reading stays reading: people's orders are given at the command line."""
    name = escape(short_id(incident["incident_id"]))
    commands = (
        (f"sendtrace incidents ack {name}", "you take it on"),
        (f"sendtrace incidents silence {name} --for 2h", "nobody is told of it until then"),
        (f"sendtrace incidents resolve {name}", "it is over"),
    )
    return table((), [f"<td><code>{command}</code></td><td>{what}</td>" for command, what in commands], slim=True)


def _severity(incident: Incident) -> str:
    return f'<b class="{_MARKS[incident["severity"]]}">{incident["severity"]}</b>'


def _path(incident: Incident) -> str:
    return f"/incidents/{part_of_path(incident['incident_id'])}"
