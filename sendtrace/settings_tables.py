"""`[tables]`: where the tables of the pipeline on Kafka are. Refuses an address that libpq could not read."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from sendtrace.settings_table import SettingsTable

_POSTGRES: Final = "postgresql://USER:PASSWORD@HOST:5432/DATABASE, or the same as key=value text"


def _conninfo(url: SecretStr) -> SecretStr:
    from psycopg import Error  # noqa: PLC0415  a quarter of a second, for those who have a Postgres
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  the same

    try:
        found = conninfo_to_dict(url.get_secret_value())
    except Error:  # its words quote what it was given, which may be the password
        raise ValueError("libpq cannot read it") from None
    if not found.get("dbname"):
        raise ValueError("it names no database")
    return url


class TablesSettings(SettingsTable):
    """`[tables]`: in Postgres where it is named, else in SQLite in `storage.directory`."""

    postgres: Annotated[SecretStr, Field(min_length=1), AfterValidator(_conninfo)] | None = Field(
        default=None, description=_POSTGRES
    )
    #: A year and a month: the same month a year ago can still be looked at.
    transitions_retention_days: int = Field(
        default=400, ge=1, le=36_500, description="a whole number of days from 1 to 36500"
    )
