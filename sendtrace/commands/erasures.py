"""`sendtrace erasures`: the list of what was erased as a file, for tables that are made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sendtrace.commands.common import Config, Data, TroubleError
from sendtrace.commands.erase import digests_of
from sendtrace.commands.places import place_of
from sendtrace.erasure_file import add_to_list, read_list
from sendtrace.erasure_list import add_entries, entries_of
from sendtrace.terminal import say

erasures_app = typer.Typer(help="The list of what was erased: keep it where the tables are not.", no_args_is_help=True)


@erasures_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; what is in the file already stays.")],
    *,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write the list of what was erased to a file: digests, never a recipient.

    Example: sendtrace erasures export erasures.jsonl
    """
    entries = entries_of(place_of(config, data))
    file.touch(mode=0o600)  # an empty list is one, too
    add_to_list(file, entries)
    say(f"{len(entries)} entries in {file}")


@erasures_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As `sendtrace erasures export` wrote it.")],
    *,
    config: Config = None,
    data: Data = None,
) -> None:
    """Put a list of what was erased into tables that were made anew, before anything is replayed into them.

    In Postgres the tables are made where there are none yet.

    Example: sendtrace erasures import erasures.jsonl
    """
    if not file.is_file():
        raise TroubleError(f"{file}: no such file; `sendtrace erasures export` writes one")
    entries = read_list(file)
    place = place_of(config, data)
    add_entries(place, entries, digests_of(place, config, data))
    say(f"{len(entries)} entries taken in")
