"""`[personal]`: what is kept of recipients, addresses of the network and user agents, and under which key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from schemas.personal import SECRET_CHARS
from sendtrace.settings_table import SettingsTable


class PersonalSettings(SettingsTable):
    """`[personal]`: `sendtrace up` makes a key of its own in its data directory where none is set."""

    mode: Literal["hashed", "encrypted", "off"] = Field(
        default="hashed", description='"hashed", "encrypted" (which can be read again with the key), or "off"'
    )
    key: Annotated[SecretStr, Field(min_length=SECRET_CHARS)] | None = Field(
        default=None, description=f"a secret text of {SECRET_CHARS} characters or more, the same on every role"
    )
