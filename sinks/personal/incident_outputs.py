"""What the incident step is about to write on Kafka, held to the list of what was erased. Pure.

It reads topics, which keep what they were given; embedded it reads tables, which hold nothing of it any more.
"""

from __future__ import annotations

from typing import cast

import orjson

from schemas.incidents import GroupState, Incident, IncidentChange, IncidentOutputs
from sinks.personal.redactor import Redactor


def incidents_held_to(redactor: Redactor, outputs: IncidentOutputs) -> IncidentOutputs:
    """The same without an erased recipient in any title, sample or state."""
    return IncidentOutputs(
        [_group(redactor, group) for group in outputs.groups],
        [cast(Incident, redactor.json(incident)) for incident in outputs.incidents],
        [cast(IncidentChange, redactor.json(change)) for change in outputs.changes],
    )


def _group(redactor: Redactor, group: GroupState) -> GroupState:
    if not group.state:
        return group
    state = orjson.loads(group.state)
    kept = redactor.json(state)
    return group if kept is state else group._replace(state=orjson.dumps(kept))
