"""How people name incidents on the command line: by an id or its beginning, or by a label and its value."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Final

import typer

from schemas.incident_views import SILENCE_LABELS, IncidentDetail, SilenceLabel
from schemas.incidents import SEVERITIES
from sendtrace.commands.common import TroubleError
from sendtrace.commands.places import Place
from sendtrace.incident_words import SHORT_ID_CHARS
from sendtrace.settings_faults import unknown_word
from sendtrace.terminal import safe

_LEAST_PREFIX_CHARS: Final = 6
_MOST_AMBIGUOUS: Final = 5
#: What people may write for a label of ours.
_OTHER_NAMES: Final = {"campaign": "campaign_id"}

IncidentId = Annotated[
    str, typer.Argument(metavar="ID", help=f"As listed, or its beginning of {_LEAST_PREFIX_CHARS} characters or more.")
]
IdOrLabel = Annotated[
    str,
    typer.Argument(metavar="ID|LABEL=VALUE", help=f"One incident, or all with a label: {', '.join(SILENCE_LABELS)}."),
]


def found_by_name(place: Place, beginning: str) -> IncidentDetail:
    """The incident meant by an id or its beginning. Raises `TroubleError`."""
    name = beginning.lower()
    with closing(place.open_reader()) as reader:
        ids = reader.incident_ids(name, limit=_MOST_AMBIGUOUS) if len(name) >= _LEAST_PREFIX_CHARS else []
        found = reader.incident(ids[0]) if len(ids) == 1 else None
    if len(ids) > 1:
        shown = ", ".join(one[: max(SHORT_ID_CHARS, len(name) + 4)] for one in ids)
        raise TroubleError(f"{safe(beginning)} is the beginning of several incidents: {shown}; give more of it")
    if found is None:
        short = "" if len(name) >= _LEAST_PREFIX_CHARS else f" give at least {_LEAST_PREFIX_CHARS} characters;"
        raise TroubleError(
            f"there is no incident {safe(beginning)};{short} `sendtrace incidents list --state all` shows them"
        )
    return found


def label_of(target: str) -> tuple[SilenceLabel, str]:
    """`campaign=c1` → the label and its value. Raises `typer.BadParameter`."""
    given, _, value = target.partition("=")
    name = _OTHER_NAMES.get(given, given)
    for label in SILENCE_LABELS:
        if label == name and value:
            if label == "severity":
                check_word("ID|LABEL=VALUE", value, SEVERITIES)
            return label, value
    if value:
        hint = unknown_word(name, SILENCE_LABELS)
        raise typer.BadParameter(f"there is no label {safe(given)}; {hint}", param_hint="ID|LABEL=VALUE")
    raise typer.BadParameter(f"{safe(target)} has no value; expected LABEL=VALUE", param_hint="ID|LABEL=VALUE")


def check_word(option: str, word: str | None, known: Sequence[str]) -> None:
    """Raises `typer.BadParameter` for a word that is none of those; `None` is none given."""
    if word is not None and word not in known:
        raise typer.BadParameter(f"{safe(word)} is none; {unknown_word(word, known)}", param_hint=option)
