"""`sendtrace show`: one message's timeline, found by whatever id a person has."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Final

import typer

from schemas.codec import encode
from schemas.records import MessageDetail
from sendtrace.commands.common import OK, AsJson, Config, Data, TroubleError
from sendtrace.commands.places import Place, place_of
from sendtrace.message_story import Storyteller
from sendtrace.terminal import STYLES, Cell, Grid, safe, say, say_text, show_grid
from sendtrace.timeline import NONE, moment, name_of

_MOST_TIMELINES: Final = 3
_MOST_FOUND: Final = 100
_SECOND_CHARS: Final = len("2020-08-31 18:58:42")

Identifier = Annotated[
    str,
    typer.Argument(metavar="ID", help="A dispatch_id, external_send_id, 360NRS id, contact id or message id, in full."),
]


def show(identifier: Identifier, *, json: AsJson = False, config: Config = None, data: Data = None) -> int:
    """Show what became of a message: who, status and reason, and what each postback said and did.

    An id of several messages shows all of them, as a list when they are many.

    With --json one message is an object as of the read API, several are {"messages": […]}.

    Example: sendtrace show acf471119f7449d579e8089032003ded
    """
    found = details_of(place_of(config, data), identifier)
    if not found:
        raise TroubleError(
            f"no message is known by {safe(identifier)}; ids are searched in full, as the provider sent them"
        )
    if json:
        say(encode(found[0] if len(found) == 1 else {"messages": found}).decode())
    elif len(found) > _MOST_TIMELINES:
        _list(found)
    else:
        _timelines(found)
    return OK


def details_of(place: Place, identifier: str) -> list[MessageDetail]:
    """The newest messages of that name, with their bodies."""
    with closing(place.open_reader()) as reader, closing(place.open_log()) as log:
        ids = reader.find(identifier, limit=_MOST_FOUND)
        details = (reader.message(message_id, body_at=log.body_at) for message_id in ids)
        return [detail for detail in details if detail is not None]


def _timelines(found: Sequence[MessageDetail]) -> None:
    storyteller = Storyteller()
    for number, detail in enumerate(found):
        if number:
            say()
        for line in storyteller.lines(detail):
            say_text(line)


def _list(found: Sequence[MessageDetail]) -> None:
    rows = [
        (
            Cell(detail["message_id"]),
            Cell(detail["status"], STYLES.get(detail["status"], "")),
            Cell(detail["channel"] or NONE),
            Cell(moment(detail["last_received_at"])[:_SECOND_CHARS]),
            Cell(NONE if name_of(detail) == detail["message_id"] else name_of(detail)),
        )
        for detail in found
    ]
    show_grid(Grid(("message", "status", "channel", "last heard of (UTC)", "id"), rows))
    more = f"the newest {_MOST_FOUND}" if len(found) == _MOST_FOUND else str(len(found))
    say(f"{more} messages have this id; `sendtrace show MESSAGE` shows one of them.")
