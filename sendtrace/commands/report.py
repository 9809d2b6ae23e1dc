"""`sendtrace report`: a period beside the one before it, for people, for machines, or as one page."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated

import orjson
import typer

from processors.classify import Classifier
from sendtrace.clock import SystemClock
from sendtrace.commands.audit import audit_of, verdict
from sendtrace.commands.common import OK, AsJson, Config, Data
from sendtrace.commands.places import Place, place_of
from sendtrace.kafka_topics import BrokerError
from sendtrace.report.figures import Account, Known, Report, report_of
from sendtrace.report.period import period_since
from sendtrace.spans import SpanError
from sendtrace.tables_store import postgres_of
from sendtrace.terminal import say
from sinks.tables.report_queries import PostgresReport, SqliteReport
from sinks.tables.report_rows import Period, ReportTables

Since = Annotated[
    str,
    typer.Option(
        "--since", metavar="WHEN", help="A length such as 90m, 24h, 7d, or a moment such as 2020-08-31T18:00Z."
    ),
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page instead.")]


def report(
    *, since: Since = "24h", html: Html = None, json: AsJson = False, config: Config = None, data: Data = None
) -> int:
    """Show what happened since a time: volumes and rates beside the period before, why messages failed, what was
    slow, open incidents, dead letters, and whether everything adds up.

    Example: sendtrace report --since 24h
    """
    if html is not None and json:
        raise typer.BadParameter("--html and --json say two things; give one of them")
    try:
        period = period_since(since, SystemClock().now_ms())
    except SpanError as error:
        raise typer.BadParameter(str(error), param_hint="'--since'") from None
    found = report_at(place_of(config, data), period)
    if json:
        say(orjson.dumps(found).decode())
    elif html is not None:
        _write(html, found)
        say(f"written  {html}")
    else:
        from sendtrace.report.terminal import show  # noqa: PLC0415  rich, for those who look

        show(found)
    return OK


def report_at(place: Place, period: Period) -> Report:
    """The report of these tables, also beside a running sendtrace."""
    classes = {word: Known(known.meaning, known.advice) for word, known in Classifier.load(None).catalogue.items()}
    with closing(_tables(place)) as tables:
        rows = tables.rows(period)
    return report_of(period, rows, classes, _account(place))


def _tables(place: Place) -> ReportTables:
    url = None if place.settings is None else postgres_of(place.settings)
    return SqliteReport(place.paths.tables) if url is None else PostgresReport(url)


def _account(place: Place) -> Account:
    """The tables are told of also where the raw log cannot be asked."""
    try:
        found = audit_of(place)
    except (BrokerError, OSError, sqlite3.Error) as error:
        return Account(f"cannot be made: {error}", None)
    return Account(verdict(found), found["balanced"])


def _write(path: Path, found: Report) -> None:
    """Whole or not at all."""
    from sendtrace.report.page import page  # noqa: PLC0415  for those who want one

    written = path.with_name(f"{path.name}.part")
    try:
        written.write_text(page(found), encoding="utf-8")
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)
