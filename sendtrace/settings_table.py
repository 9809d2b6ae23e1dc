"""What every table of the settings is made of: its base class, and lists as the environment can carry them."""

from __future__ import annotations

import json
from typing import cast

from pydantic import BaseModel, ConfigDict


class SettingsTable(BaseModel):
    """One table of the file. `description` of a field says what is expected there, and is what errors quote."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def listed(value: object) -> object:
    """A list as the environment can carry it: `a,b`, or JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return cast(object, json.loads(value))
    return [part.strip() for part in value.split(",") if part.strip()]
