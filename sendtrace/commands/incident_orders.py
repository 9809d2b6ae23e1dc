"""What people order of incidents on the command line: take one on, silence, resolve."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Final

import typer

from schemas.codec import encode
from schemas.incident_views import Silence
from schemas.incidents import Incident
from schemas.times import iso_ms
from sendtrace.clock import SystemClock
from sendtrace.commands.common import AsJson, Config, Data, TroubleError
from sendtrace.commands.incident_names import IdOrLabel, IncidentId, found_by_name, label_of
from sendtrace.commands.places import place_of
from sendtrace.incident_story import SEVERITY_STYLES
from sendtrace.incident_words import minute, short_id
from sendtrace.spans import SpanError, span_ms
from sendtrace.terminal import Cell, Grid, safe, say, show_grid

_MOST_SILENCED: Final = 1_000
_MOST_DAYS: Final = 366
_CLOCK: Final = SystemClock()

For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h or 3d.")]


def ack(incident_id: IncidentId, *, config: Config = None, data: Data = None) -> None:
    """Say that somebody has taken it on; everybody who looks sees it.

    Example: sendtrace incidents ack 3f9a1c20
    """
    place = place_of(config, data)
    found = found_by_name(place, incident_id)
    done = _there(place.orders().acknowledge(found["incident_id"], now=_now()), incident_id)
    since = "" if done["acknowledged_at"] != found["acknowledged_at"] else ", and was before"
    say(f"acknowledged{since}: {_named(done)}")


def silence(target: IdOrLabel, *, span: For, config: Config = None, data: Data = None) -> None:
    """Tell nobody of one incident, or of all with a label, for some time. What is known of them stays visible.

    Example: sendtrace incidents silence campaign=spring-sale --for 2h
    """
    place = place_of(config, data)
    now_ms = _CLOCK.now_ms()
    until = iso_ms(now_ms + _span_ms(span))
    if "=" not in target:
        incident_id = found_by_name(place, target)["incident_id"]
        done = _there(place.orders().silence(incident_id, until=until), target)
        say(f"silenced until {minute(until)} UTC: {_named(done)}")
        return
    label, value = label_of(target)
    if not place.orders().silence_label(label, value, until=until, now=iso_ms(now_ms)):
        raise TroubleError(
            f"there are no incidents to silence by {safe(target)}: nothing was ever written to the tables"
        )
    with closing(place.open_reader()) as reader:
        matching = sum(1 for one in reader.incidents(state="open", limit=_MOST_SILENCED).items if one[label] == value)
    say(f"silenced until {minute(until)} UTC: {label}={safe(value)}, {matching} open now")


def unsilence(target: IdOrLabel, *, config: Config = None, data: Data = None) -> None:
    """End a silence: of one incident, or of a label.

    Example: sendtrace incidents unsilence campaign=spring-sale
    """
    place = place_of(config, data)
    if "=" not in target:
        incident_id = found_by_name(place, target)["incident_id"]
        say(f"no longer silenced: {_named(_there(place.orders().silence(incident_id, until=None), target))}")
        return
    label, value = label_of(target)
    if not place.orders().end_silences(label, value, now=_now()):
        raise TroubleError(f"{label}={safe(value)} is not silenced; `sendtrace incidents silences` shows what is")
    say(f"no longer silenced: {label}={safe(value)}")


def silences(*, json: AsJson = False, config: Config = None, data: Data = None) -> None:
    """List what is silenced now, by label and one by one.

    Example: sendtrace incidents silences
    """
    now = _now()
    with closing(place_of(config, data).open_reader()) as reader:
        by_label = reader.silences(now)
        newest = reader.incidents(limit=_MOST_SILENCED).items
    single = [one for one in newest if (one["silenced_until"] or "") > now]
    if json:
        say(encode({"silences": by_label, "incidents": single}).decode())
    elif by_label or single:
        _show_silences(by_label, single)
    else:
        say("none: everybody is told of everything")


def _show_silences(by_label: list[Silence], single: list[Incident]) -> None:
    rows = [(Cell(minute(one["until"])), Cell(f"{one['label']}={one['value']}"), Cell("")) for one in by_label]
    rows += [
        (
            Cell(minute(str(one["silenced_until"]))),
            Cell(short_id(one["incident_id"])),
            Cell(one["title"], SEVERITY_STYLES[one["severity"]]),
        )
        for one in single
    ]
    show_grid(Grid(("until (UTC)", "what", "title"), rows))


def resolve(incident_id: IncidentId, *, config: Config = None, data: Data = None) -> None:
    """Say that it is over. Trouble from before counts no more; if it comes again, the incident opens again.

    Example: sendtrace incidents resolve 3f9a1c20
    """
    place = place_of(config, data)
    found = found_by_name(place, incident_id)
    done = place.orders().resolve(found["incident_id"], now=_now())
    if done is None:
        when = f" since {minute(found['resolved_at'])} UTC" if found["resolved_at"] else ""
        say(f"{short_id(found['incident_id'])} is resolved already{when}")
    else:
        say(f"resolved: {_named(done)}")


def _there(done: Incident | None, named: str) -> Incident:
    if done is None:
        raise TroubleError(f"incident {safe(named)} is gone from the tables")
    return done


def _span_ms(text: str) -> int:
    try:
        return span_ms(text, most_days=_MOST_DAYS)
    except SpanError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error


def _now() -> str:
    return iso_ms(_CLOCK.now_ms())


def _named(incident: Incident) -> str:
    return f"{short_id(incident['incident_id'])}  {safe(incident['title'])}"
