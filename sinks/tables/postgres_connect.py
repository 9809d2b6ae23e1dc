"""Connections to the Postgres of the tables: bounded waits, times in UTC, and errors in one line without a password.

Needs a session of its own: behind a pooler that hands out transactions the writer's lock would not hold.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

#: Where the settings say nothing else: a server that is gone without a word is noticed within half a minute.
_WAITS: Final[dict[str, str | int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "sendtrace",
}
_MOST_TOLD: Final = 300

Row = tuple[Any, ...]  # whatever psycopg hands out
Connection = psycopg.Connection[Row]


class _IsoLoader(Loader):
    """`2020-08-31 18:58:42.12+00` → `2020-08-31T18:58:42.120Z`: a time as `schemas.times` writes it."""

    def load(self, data: Buffer) -> str:
        text = bytes(data).decode()
        return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<3}Z"


class _TextLoader(Loader):
    """JSON as it stands, for whoever parses it."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


def connect(url: str) -> Connection:
    """A connection that begins no transaction by itself, gives times as texts of ours and JSON as text.

    `url` is what libpq takes: a URL or key=value text. Raises `psycopg.OperationalError` in one line without a
    password, also for a text that is neither.
    """
    try:
        given = conninfo_to_dict(url)
        waits = {name: value for name, value in _WAITS.items() if name not in given}
        # Nothing is prepared: a plan made while a table was small would be kept when it is not.
        connection = psycopg.connect(make_conninfo(url, **waits), autocommit=True, prepare_threshold=None)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise psycopg.OperationalError(told(error, url)) from None
    try:
        connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET client_encoding = 'UTF8'")
    except BaseException:
        connection.close()
        raise
    connection.adapters.register_loader("timestamptz", _IsoLoader)
    connection.adapters.register_loader("jsonb", _TextLoader)
    return connection


def told(error: BaseException, url: str) -> str:
    """What went wrong in one line of at most some hundred characters, whatever libpq put into its words."""
    line = " ".join(str(error).split()) or type(error).__name__
    try:
        password = conninfo_to_dict(url).get("password")
    except psycopg.Error:  # then libpq's words may quote any part of it
        return "the address of the database is neither a postgresql:// URL nor key=value text"
    return (line.replace(str(password), "***") if password else line)[:_MOST_TOLD]
