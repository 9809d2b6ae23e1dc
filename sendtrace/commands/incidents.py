"""`sendtrace incidents`: what is wrong now, the whole story of one, and what people do about it."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Final

import typer

from schemas.codec import encode
from schemas.incidents import SEVERITIES, Incident
from sendtrace.clock import SystemClock
from sendtrace.commands import incident_orders as orders
from sendtrace.commands.common import AsJson, Config, Data
from sendtrace.commands.incident_names import IncidentId, check_word, found_by_name
from sendtrace.commands.places import place_of
from sendtrace.incident_story import list_rows, story
from sendtrace.incident_words import short_id, worst_first
from sendtrace.message_story import Storyteller
from sendtrace.terminal import console, is_fancy, say, say_text, show_grid

_STATES: Final = ("open", "resolved", "all")
_CLOCK: Final = SystemClock()

incidents_app = typer.Typer(
    help="What is wrong: list, show; take it on, silence or resolve it. Alone it lists what is open."
)

State = Annotated[str, typer.Option("--state", metavar="WORD", help="open (default), resolved or all.")]
SeverityWord = Annotated[
    str | None, typer.Option("--severity", metavar="WORD", help="Only these: info, warning, error or critical.")
]
Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only of this source.")]
Campaign = Annotated[str | None, typer.Option("--campaign", metavar="ID", help="Only of this campaign.")]
Class = Annotated[str | None, typer.Option("--class", metavar="WORD", help="Only of this class, such as mailbox_full.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most this many, the latest.")]


@incidents_app.callback(invoke_without_command=True)
def incidents(context: typer.Context, *, json: AsJson = False, config: Config = None, data: Data = None) -> None:
    """List the open incidents, the worst first; the commands below take them on.

    Example: sendtrace incidents
    """
    if context.invoked_subcommand is None:
        list_(json=json, config=config, data=data)
    elif json or config is not None or data is not None:
        raise typer.BadParameter(f"write the options behind the command: incidents {context.invoked_subcommand} …")


@incidents_app.command("list")
def list_(
    *,
    state: State = "open",
    severity: SeverityWord = None,
    source: Source = None,
    campaign: Campaign = None,
    class_: Class = None,
    limit: Limit = 100,
    json: AsJson = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List incidents, the worst first: open ones, or those that are asked for.

    Example: sendtrace incidents list --state all --severity critical
    """
    check_word("--state", state, _STATES)
    check_word("--severity", severity, SEVERITIES)
    with closing(place_of(config, data).open_reader()) as reader:
        page = reader.incidents(
            state=None if state == "all" else state,
            severity=severity,
            source=source,
            campaign_id=campaign,
            class_=class_,
            limit=limit,
        )
        parked = reader.parked_notifications([one["incident_id"] for one in page.items])
    if json:
        say(encode({"incidents": page.items, "next_cursor": page.next_cursor}).decode())
        return
    _list(page.items, parked, show_state=state != "open")
    if page.next_cursor is not None:
        say(f"… and more; these are the {len(page.items)} with the latest news")


def _list(found: list[Incident], parked: dict[str, int], *, show_state: bool) -> None:
    if not found:
        say("none: there is no such incident" if show_state else "none: nothing is known to be wrong")
        return
    show_grid(list_rows(worst_first(found), parked, now_ms=_CLOCK.now_ms(), show_state=show_state))
    say(f"`sendtrace incidents show {short_id(worst_first(found)[0]['incident_id'])}` tells the whole story of one.")


@incidents_app.command("show")
def show(incident_id: IncidentId, *, json: AsJson = False, config: Config = None, data: Data = None) -> None:
    """Show one incident: what happened, what to do, what the provider said, its history, and who was told.

    Example: sendtrace incidents show 3f9a1c20
    """
    found = found_by_name(place_of(config, data), incident_id)
    if json:
        say(encode(found).decode())
        return
    width = console().width if is_fancy() else None
    for line in story(found, now_ms=_CLOCK.now_ms(), meanings=Storyteller().meanings, width=width):
        say_text(line)


for order in (orders.ack, orders.silence, orders.unsilence, orders.silences, orders.resolve):
    incidents_app.command()(order)
