"""Postgres for tests, a pytest plugin (tests/conftest.py names it).

`postgres` is one server for the whole run: the one that SENDTRACE_POSTGRES names (a libpq URL of a user who may
create databases), else one of our own from a wheel. `postgres_url` is a new, empty database on it for one test.
`private_postgres` is a server for this test alone, to be killed, stopped and started again.

Without a server such a test is skipped with the reason; where CI is set it fails with it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn, Protocol

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.postgres.local_postgres import LocalPostgres, PostgresError


class Postgres(Protocol):
    """What a test of the shared server may use."""

    @property
    def url(self) -> str:
        """A database of a user who may create others."""


class RunningPostgres(NamedTuple):
    """Somebody else's server."""

    url: str


def give_up(reason: str) -> NoReturn:
    """Skip, or fail where CI is set: there a part that was not tried must not look green."""
    if os.environ.get("CI"):
        pytest.fail(f"no Postgres for this test: {reason}", pytrace=False)
    pytest.skip(f"no Postgres for this test: {reason}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that all tests share."""
    if url := os.environ.get("SENDTRACE_POSTGRES"):
        yield _running(url)
    else:
        with _local() as local:
            yield local


def _running(url: str) -> Postgres:
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.Error:
        pytest.fail("no server answers at the address that SENDTRACE_POSTGRES names", pytrace=False)
    return RunningPostgres(url)


@contextmanager
def _local() -> Iterator[LocalPostgres]:
    """One from the wheel that leaves nothing behind."""
    try:
        local = LocalPostgres.create()
    except PostgresError as error:
        give_up(f"{error}; or name a server in SENDTRACE_POSTGRES")
    try:
        local.start()
        yield local
    finally:
        local.remove()


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """A database for this test alone, with nothing in it."""
    name = f"sendtrace_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres.url, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def private_postgres() -> Iterator[LocalPostgres]:
    """A server for this test alone, started."""
    with _local() as local:
        yield local
