"""The command `sendtrace`: every command by name, and what becomes of the errors it raises.

A mistake of the person or trouble with the machine ends in one line on standard error and exit code
2 or 1; a traceback means a fault of ours.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from typing import Final

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from ingest.segment_directory import LogDirectoryError
from processors.classify import RulesError
from sendtrace.commands import (
    alerts,
    audit,
    dead,
    erase,
    erasures,
    export,
    incidents,
    inspect_settings,
    report,
    serve,
    show,
    sink,
    sources,
    tail,
    topics,
)
from sendtrace.commands.common import OK, TROUBLE, WRONG_USE, TroubleError
from sendtrace.kafka_topics import BrokerError
from sendtrace.processor_loop import AlreadyRunningError
from sendtrace.settings import SettingsError
from sendtrace.terminal import complain
from sinks.parquet.trouble import ParquetError
from sinks.tables.migrations import MigrationError
from sinks.tables.trouble import TablesError

#: Mistakes and trouble; anything else is a fault of ours and ends in a traceback.
_EXPECTED: Final = (
    *(TyperException, SettingsError, RulesError),
    *(TroubleError, LogDirectoryError, AlreadyRunningError, MigrationError, BrokerError),
    *(sqlite3.Error, TablesError, OSError, ParquetError),
)

app = typer.Typer(
    name="sendtrace",
    help="Did it land? Keeps every delivery postback and works out what happened to each message.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_RUN: Final = "Run"
_LOOK: Final = "Look and repair"
_SET_UP: Final = "Set up"
app.command(rich_help_panel=_SET_UP)(sources.init)
app.command(rich_help_panel=_RUN)(serve.up)
app.command(rich_help_panel=_RUN)(serve.gateway)
app.command(rich_help_panel=_RUN)(serve.worker)
sink.sink_app.command("parquet")(export.parquet)
app.add_typer(sink.sink_app, name="sink", rich_help_panel=_RUN)
app.command(rich_help_panel=_RUN)(sink.web)
app.command(rich_help_panel=_RUN)(serve.demo)
app.command(rich_help_panel=_RUN)(serve.sandbox)
app.command(rich_help_panel=_LOOK)(show.show)
app.command(rich_help_panel=_LOOK)(tail.tail)
app.add_typer(incidents.incidents_app, name="incidents", rich_help_panel=_LOOK)
app.command(rich_help_panel=_LOOK)(audit.audit)
app.command(rich_help_panel=_LOOK)(report.report)
app.command(rich_help_panel=_LOOK)(export.export)
app.add_typer(alerts.alerts_app, name="alerts", rich_help_panel=_LOOK)
app.add_typer(dead.dead_app, name="dead", rich_help_panel=_LOOK)
app.command(rich_help_panel=_LOOK)(erase.erase)
app.add_typer(erasures.erasures_app, name="erasures", rich_help_panel=_LOOK)
app.add_typer(sources.token_app, name="token", rich_help_panel=_SET_UP)
app.command(rich_help_panel=_SET_UP)(inspect_settings.check)
app.add_typer(topics.topics_app, name="topics", rich_help_panel=_SET_UP)
app.add_typer(inspect_settings.config_app, name="config", rich_help_panel=_SET_UP)
app.add_typer(inspect_settings.schemas_app, name="schemas", rich_help_panel=_SET_UP)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for trouble, 2 for wrong use or settings, 130 for Ctrl-C."""
    try:
        code: object = get_command(app).main(arguments, prog_name="sendtrace", standalone_mode=False)
    except _EXPECTED as error:
        code, lines = _explained(error)
        for line in lines:
            complain(line)
        return code
    return code if isinstance(code, int) else OK


def main() -> None:
    """The entry point of the installed program."""
    sys.exit(run())


def _explained(error: Exception) -> tuple[int, Sequence[str]]:
    """The exit code for an error, and what a person needs to know of it, a line a fault."""
    if isinstance(error, SettingsError):
        return WRONG_USE, error.faults
    if isinstance(error, TyperException):
        told = " ".join(error.format_message().split()).removesuffix(".")
        return error.exit_code, [f"{told}{_help_for(error)}"]
    if isinstance(error, sqlite3.Error | TablesError):
        return TROUBLE, [f"tables: {error}"]
    if isinstance(error, OSError) and error.filename:
        return TROUBLE, [f"{error.filename}: {error.strerror}"]
    return WRONG_USE if isinstance(error, RulesError) else TROUBLE, [str(error)]


def _help_for(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"; see `{context.command_path} --help`" if context is not None else ""
