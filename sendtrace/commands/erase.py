"""`sendtrace erase`: a recipient out of everything, asked for once more before it is done."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.codec import encode
from schemas.personal import MOST_VALUE_CHARS, Digests, Value, values_of
from schemas.times import iso_ms
from sendtrace.clock import SystemClock
from sendtrace.commands.common import OK, AsJson, Config, Data, TroubleError
from sendtrace.commands.export import require_pyarrow
from sendtrace.commands.places import Place, embedded_keys, place_of, settings_if_any
from sendtrace.erase import Found, Places
from sendtrace.erase import erase as erase_everywhere
from sendtrace.tables_store import digests_on_kafka
from sendtrace.terminal import say

_FROM_INPUT: Final = "-"
_TOLD_AS: Final = {"transition_log": "transitions"}
_NAME_CHARS: Final = 24
_STAYS: Final = (
    "The raw log keeps these bodies until their retention ends; nobody is shown them, and no replay brings them back."
)
_STAYS_ON_KAFKA: Final = (
    "The topics keep these records until their retention ends or they are compacted; what the sink takes from them"
    " from now on is held to the list."
)


def erase(
    recipient: Annotated[
        str, typer.Argument(metavar="RECIPIENT", help="An address, a number with country code, a contact id; or - .")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    parquet: Annotated[
        str | None,
        typer.Option("--parquet", metavar="DIR|URL", help="Parquet files besides those of parquet.to."),
    ] = None,
    json: AsJson = False,
    config: Config = None,
    data: Data = None,
) -> int:
    """Erase a recipient from tables, dead letters, incidents and Parquet files, and from whatever is replayed later.

    With - it is read from the input, so that no shell remembers it. Message counts stay as they are.

    Example: sendtrace erase ann@example.com --dry-run
    """
    values = _values(recipient)
    if not (dry_run or yes or (sys.stdin.isatty() and recipient != _FROM_INPUT and not json)):
        raise typer.BadParameter("give --yes to erase without being asked, or --dry-run to see what there is")
    place = place_of(config, data)
    digests = digests_of(place, config, data)
    places = _places(place, config, data, parquet)
    erased_at = iso_ms(SystemClock().now_ms())
    if not yes:
        found = erase_everywhere(places, values, digests, erased_at=erased_at, apply=False)
        _tell(found, place, done=False, json=json)
        if dry_run or not typer.confirm("Erase it for good?"):
            return OK
    found = erase_everywhere(places, values, digests, erased_at=erased_at, apply=True)
    _tell(found, place, done=True, json=json)
    return OK


def _values(recipient: str) -> list[Value]:
    """Never told in an error: it may end in a log."""
    given = (sys.stdin.readline() if recipient == _FROM_INPUT else recipient).strip()
    if not given or len(given) > MOST_VALUE_CHARS or any(unicodedata.category(c) in {"Cc", "Cs"} for c in given):
        raise typer.BadParameter(
            f"expected an address, a telephone number or a contact id of 1 to {MOST_VALUE_CHARS} printable characters",
            param_hint="RECIPIENT",
        )
    return values_of(given)


def digests_of(place: Place, config: Path | None, data: Path | None) -> Digests:
    """What the list of erasures is kept under. Raises `TroubleError` where the settings must have a key and lack it."""
    if place.settings is None:
        digests = embedded_keys(place.paths, config, data, make=True).digests
    else:
        digests = digests_on_kafka(place.settings)
    if digests is None:
        raise TroubleError(
            "personal.key is not set, expected the same key on every role: the list of erasures is kept under it; set"
            " it, restart the roles, and erase then"
        )
    return digests


def _places(place: Place, config: Path | None, data: Path | None, parquet: str | None) -> Places:
    settings = place.settings or settings_if_any(config, data)
    to, endpoint = (None, None) if settings is None else (settings.parquet.to, settings.parquet.s3_endpoint)
    if parquet or to:
        require_pyarrow()
    return Places(paths=place.paths, settings=place.settings, parquet=parquet or to, s3_endpoint=endpoint)


def _tell(found: Found, place: Place, *, done: bool, json: bool) -> None:
    rows = {_TOLD_AS.get(name, name): count for name, count in sorted(found.tables.rows.items())}
    if json:
        told = {
            "erased": done,
            "messages": found.tables.messages_of,
            "rows": rows,
            "parquet_files": found.parquet_files,
        }
        say(encode(told).decode())
        return
    say("erased:" if done else "this would be erased:")
    for name, count in rows.items():
        say(f"  {name:<{_NAME_CHARS}}{count:>10,} {'row' if count == 1 else 'rows'}")
    if found.parquet_files is not None:
        say(f"  {'Parquet':<{_NAME_CHARS}}{found.parquet_files:>10,} {'file' if found.parquet_files == 1 else 'files'}")
    if not rows and not found.parquet_files:
        say("  nothing is there" + ("; what comes later is held to the list" if done else ""))
    if done:
        say(_STAYS if place.settings is None else _STAYS_ON_KAFKA)
