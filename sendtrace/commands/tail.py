"""`sendtrace tail`: transitions as they happen, a line each."""

from __future__ import annotations

import errno
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, Final

import typer
from rich.text import Text

from schemas.codec import encode
from schemas.records import Transition
from schemas.statuses import STATUS
from sendtrace.commands.common import AsJson, Config, Data
from sendtrace.commands.places import place_of
from sendtrace.settings_faults import unknown_word
from sendtrace.terminal import STYLES, padded, safe, say, say_text
from sendtrace.timeline import moment, name_of
from sinks.tables.tables_reader import TablesReader

_PERIOD_S: Final = 0.25
_SOURCE_CHARS: Final = 6
_NAME_CHARS: Final = 32
_MOVE_CHARS: Final = 23

Pause = Callable[[float], None]


def tail(
    *,
    status: Annotated[
        str | None, typer.Option("--status", metavar="WORD", help="Only messages that came to this status.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")] = None,
    json: AsJson = False,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest, not with the next.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Follow what happens to messages, a line each, until Ctrl-C; works beside a running `sendtrace up`.

    Example: sendtrace tail --status bounced
    """
    if status is not None and status not in STATUS:
        raise typer.BadParameter(
            f"there is no status {safe(status)}; {unknown_word(status, STATUS)}", param_hint="--status"
        )
    with closing(place_of(config, data).open_reader()) as reader:
        begin = 0 if from_start else reader.last_transition()
        for transition in follow(reader, begin, status=status, source=source, pause=wait):
            if json:
                say(encode(transition).decode())
            else:
                say_text(line_of(transition))


def wait(seconds: float) -> None:
    """Sleep, but raise `BrokenPipeError` as soon as nobody reads standard output: hours may pass without a line."""
    readers = select.poll()
    readers.register(sys.stdout.fileno(), 0)  # asks for nothing, so only a hang-up or an error is told
    if readers.poll(seconds * 1000):
        raise BrokenPipeError(errno.EPIPE, "nobody reads standard output")


def follow(
    reader: TablesReader, seq: int, *, status: str | None, source: str | None, pause: Pause
) -> Iterator[Transition]:
    """Every transition after `seq`, without end; `pause` is called with seconds when there is none."""
    while True:
        found = reader.transitions_after(seq, status=status, source=source)
        yield from found.transitions
        if found.seq == seq:
            pause(_PERIOD_S)
        seq = found.seq


def line_of(transition: Transition) -> Text:
    """`2020-08-31 18:58:43.500  braze  acf4…3ded  sent → delivered  250 OK`."""
    before, after = transition["from_status"], transition["status"]
    said = safe(transition["provider_status"])
    move = f"{before or 'new'} → {after}" if before != after else f"{after} ({said})"
    reason = safe(transition["reason"] or "")
    kind = f" ({transition['bounce_class']})" if transition["bounce_class"] else ""
    return Text.assemble(
        (moment(transition["received_at"]), "dim"),
        f"  {padded(transition['source'], _SOURCE_CHARS)}  {padded(name_of(transition), _NAME_CHARS)}  ",
        (padded(move, _MOVE_CHARS), STYLES.get(after, "") if before != after else "dim"),
        f"  {reason}{kind}",
        ("  contradicts what was known", "yellow") if transition["kind"] == "conflict" else "",
    )
