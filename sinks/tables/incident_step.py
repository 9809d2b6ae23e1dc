"""Runs the incident step for both drivers: what it raises by a fault of its own is told apart from the database's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas.incidents import GroupStore, IncidentOutputs
from schemas.records import Transition
from schemas.tallies import Tally
from sinks.tables.incident_tables import Step
from sinks.tables.trouble import TablesError

#: A call that says less of groups has looked at all that were due; the step looks at more of them in one call.
FEW_GROUPS: Final = 200


class StepFaultError(TablesError):
    """The step raised: a fault of the program, which must not end it. The same records are tried again."""


def outputs_of(
    step: Step,
    store: GroupStore,
    failures: Sequence[Transition],
    tallies: Sequence[Tally],
    *,
    watermark_ms: int,
    trouble: tuple[type[Exception], ...],
) -> IncidentOutputs:
    """What the step makes of it. Raises `StepFaultError`, and `trouble`, which is the store's."""
    try:
        return step.handle(store, failures, tallies, watermark_ms=watermark_ms)
    except trouble:
        raise
    except Exception as error:
        raise StepFaultError(_told(error)) from error


def _told(error: Exception) -> str:
    """What and where, without the error's text: that may quote a postback."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
    return f"the incident step raised {type(error).__name__}{where}; this is a fault of sendtrace, report it"
