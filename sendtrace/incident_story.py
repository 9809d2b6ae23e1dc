"""Incidents as a terminal shows them: a row in a list, and the whole story of one. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident, IncidentSample
from schemas.times import epoch_ms
from sendtrace.incident_words import ago, fate, how_many, marks, short_id
from sendtrace.terminal import STYLES, Cell, Grid, padded, safe
from sendtrace.timeline import Meaning, duration, moment

SEVERITY_STYLES: Final = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}
_STATE_STYLES: Final = {"open": "red", "resolved": "green"}
_FATE_STYLES: Final = {"delivered": "green", "parked": "red", "waiting": "yellow", "dropped": "dim"}
_LABEL_CHARS: Final = 10
_SECOND_CHARS: Final = len("2020-08-31 18:58:42")
_LEAST_WIDTH: Final = 20
#: Wraps texts for any terminal; writes nothing.
_RULER: Final = Console(file=io.StringIO(), width=80)


def list_rows(
    incidents: Sequence[Incident], parked: Mapping[str, int], *, now_ms: int, show_state: bool = False
) -> Grid:
    """A table of incidents in the order given; `parked` counts by incident what no target took.

    `show_state` shows the state instead of the age, which only open ones have.
    """
    rows = []
    for one in incidents:
        told = marks(one, now_ms=now_ms, parked=parked.get(one["incident_id"], 0))
        style = SEVERITY_STYLES[one["severity"]] if one["state"] == "open" else "dim"
        age = Cell(ago(one["first_seen"], now_ms))
        rows.append(
            (
                Cell(short_id(one["incident_id"])),
                Cell(one["severity"], style),
                Cell(one["state"], _STATE_STYLES[one["state"]]) if show_state else age,
                Cell(f"{one['count']:,}"),
                Cell(ago(one["last_seen"], now_ms)),
                Cell(" · ".join((one["title"], *told))),
            )
        )
    heads = ("incident", "severity", "state" if show_state else "age", "count", "last", "what happened")
    return Grid(heads, rows, frozenset({"count", "age", "last"}))


def story(
    incident: IncidentDetail, *, now_ms: int, meanings: Mapping[str, Meaning] | None = None, width: int | None = None
) -> list[Text]:
    """The lines, control characters written out. `width`: that of a terminal, for long texts to be folded neatly."""
    return [
        *_head(incident, now_ms, width),
        *_facts(incident, now_ms, meanings or {}, width),
        *_part("what was said", _samples(incident["samples"], width), "nothing: no postback is behind it"),
        *_part("what happened", _history(incident), "nothing yet"),
        *_part("who was told", _told(incident, width), "nobody"),
    ]


def _head(incident: Incident, now_ms: int, width: int | None) -> Iterator[Text]:
    severity = incident["severity"]
    yield from _hung(Text(), Text(safe(incident["title"]), style="bold"), width)
    for_ = f" for {ago(incident['opened_at'], now_ms)}" if incident["state"] == "open" else ""
    when = (
        f" at {_second(incident['resolved_at'])}" if incident["state"] == "resolved" and incident["resolved_at"] else ""
    )
    told = "".join(f" · {mark}" for mark in marks(incident, now_ms=now_ms))
    yield Text.assemble(
        (severity, SEVERITY_STYLES[severity]),
        " · ",
        (incident["state"], _STATE_STYLES[incident["state"]]),
        f"{for_}{when}{told}",
    )
    yield Text()


def _facts(incident: Incident, now_ms: int, meanings: Mapping[str, Meaning], width: int | None) -> Iterator[Text]:
    known = meanings.get(incident["class"] or "")
    if known is not None and known.meaning in incident["advice"]:  # most advice begins with it
        known = None
    spell_ms = epoch_ms(incident["last_seen"]) - epoch_ms(incident["first_seen"])
    for label, value in (
        ("count", f"{how_many(incident)} in {duration(max(0, spell_ms))}"),
        ("since", f"{_second(incident['first_seen'])} UTC"),
        ("last", f"{_second(incident['last_seen'])} UTC, {ago(incident['last_seen'], now_ms)} ago"),
        ("source", _with(incident["source"], incident["provider"])),
        ("campaign", incident["campaign_id"]),
        ("domain", incident["domain"]),
        ("class", f"{incident['class']}: {known.meaning}" if known else incident["class"]),
        ("rule", f"{incident['rule']} ({incident['kind']})"),
        ("incident", incident["incident_id"]),
        ("to do", incident["advice"]),
    ):
        if value:
            yield from _hung(Text(label.ljust(_LABEL_CHARS), style="dim"), Text(safe(value)), width)


def _samples(samples: Sequence[IncidentSample], width: int | None) -> Iterator[Text]:
    for sample in samples:
        lead = Text.assemble(_second(sample["received_at"]), "  ", (safe(sample["status"]), _status(sample)), "  ")
        yield from _hung(lead, Text(safe(sample["reason"] or "no reason given")), width)
        name = sample["message_id"]
        more = f"sendtrace show {safe(name)}" if name else f"sendtrace dead show {safe(sample['receipt_id'])}"
        yield Text(f"    {more}", style="dim")


def _history(incident: IncidentDetail) -> Iterator[Text]:
    counts = [f"{step['count']:,}" for step in incident["changes"]]
    widest = max(map(len, counts), default=0)
    for step, count in zip(incident["changes"], counts, strict=True):
        yield Text.assemble(
            f"{_second(step['at'])}  {padded(step['change'], 9)}  {count.rjust(widest)}  ",
            (step["severity"], SEVERITY_STYLES[step["severity"]]),
        )


def _told(incident: IncidentDetail, width: int | None) -> Iterator[Text]:
    targets = [safe(row["target"]) for row in incident["notifications"]]
    widest = max(map(cell_len, targets), default=0)
    for row, target in zip(incident["notifications"], targets, strict=True):
        when = row["settled_at"] or row["tried_at"] or row["taken_at"]
        lead = Text(f"{_second(when)}  {padded(row['change'], 9)}  {padded(target, widest)}  ")
        yield from _hung(lead, Text(safe(fate(row)), style=_FATE_STYLES[row["state"]]), width)


def _part(title: str, lines: Iterator[Text], without: str) -> Iterator[Text]:
    found = list(lines)
    yield Text()
    yield Text(title if found else f"{title}: {without}", style="dim")
    yield from found


def _hung(lead: Text, value: Text, width: int | None) -> Iterator[Text]:
    """`value` behind `lead`, folded so that it stays to the right of it where there is room for that."""
    if width is None:
        yield lead + value
        return
    indent = cell_len(lead.plain)
    if width - indent < _LEAST_WIDTH:
        yield lead + value
        return
    for number, line in enumerate(value.wrap(_RULER, width - indent)):
        line.rstrip()
        yield (lead if number == 0 else Text(" " * indent)) + line


def _second(iso: str) -> str:
    return moment(iso)[:_SECOND_CHARS]


def _status(sample: IncidentSample) -> str:
    return STYLES.get(sample["status"], "")


def _with(name: str | None, more: str | None) -> str | None:
    return f"{name} ({more})" if name and more and name != more else name or more
