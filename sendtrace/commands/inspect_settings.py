"""`sendtrace check`, `config show` and `schemas export`: what holds, what is wrong, what is promised."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeGuard

import typer

from processors.classify import Classifier, RulesError
from schemas.codec import json_schema
from schemas.incident_views import IncidentDetail
from schemas.incidents import Incident
from schemas.records import Audit, DeadLetterView, MessageDetail, MessageStatus, StatusRecord, Transition
from schemas.tallies import Tally
from sendtrace.commands.common import OK, WRONG_USE, AdminPort, Config, Data, Port, is_running, settings_of
from sendtrace.commands.topics import look
from sendtrace.data_paths import DataPaths
from sendtrace.kafka_topics import BrokerError, described
from sendtrace.notify_targets import faults_of_labels
from sendtrace.settings import Settings
from sendtrace.terminal import safe, say

#: What others may rely on: the values of topics, tables and the read API.
PUBLIC_RECORDS: Final = (
    MessageStatus,
    MessageDetail,
    Transition,
    StatusRecord,
    Tally,
    Incident,
    IncidentDetail,
    DeadLetterView,
    Audit,
)
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

config_app = typer.Typer(help="Show the settings in force.", no_args_is_help=True)
schemas_app = typer.Typer(help="The JSON Schemas of the public records.", no_args_is_help=True)


class Finding(NamedTuple):
    """One thing `check` looked at."""

    right: bool
    what: str
    told: str


def check(*, config: Config = None, data: Data = None, port: Port = None, admin_port: AdminPort = None) -> int:
    """Say whether `sendtrace up` could start: settings, data directory, ports, rules. Exit code 2 if not.

    With kafka.bootstrap_servers in the settings also whether one answers and has every topic as it should be.

    Example: sendtrace check --config sendtrace.toml
    """
    settings = settings_of(config, data=data, port=port, admin_port=admin_port, takes_postbacks=True)
    findings = list(findings_of(settings))
    for finding in findings:
        say(f"{'ok   ' if finding.right else 'wrong'}  {finding.what:<9} {finding.told}")
    return OK if all(finding.right for finding in findings) else WRONG_USE


def findings_of(settings: Settings) -> Iterator[Finding]:
    """Everything `check` says, the settings themselves being right."""
    sources = ", ".join(f"{name} ({source.provider})" for name, source in settings.sources.items())
    yield Finding(True, "settings", f"sources {sources}")
    paths = DataPaths(settings.storage.directory)
    yield _data_directory(paths.directory)
    if is_running(paths):
        yield Finding(True, "ports", "not tried: a sendtrace is running on this data directory")
    else:
        yield _port("gateway", settings.gateway.host, settings.gateway.port)
        yield _port("admin", settings.admin.host, settings.admin.port)
    yield from _rules(settings)
    if settings.kafka.bootstrap_servers:
        yield from _kafka(settings)


def _data_directory(directory: Path) -> Finding:
    there = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not there.is_dir():
        return Finding(False, "data", f"{there} is no directory; set storage.directory or give --data")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding(False, "data", f"{there} cannot be written; change its owner, or give another with --data")
    return Finding(True, "data", f"{directory} {'can be written' if there == directory else 'will be made'}")


def _port(what: str, host: str, port: int) -> Finding:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as error:
        why = f"{host} port {port}: {(error.strerror or str(error)).lower()}"
        return Finding(False, what, f"{why}; stop what uses it, or set {what}.port")
    return Finding(True, what, f"{host} port {port} is free" if port else f"{host}, any free port")


def _rules(settings: Settings) -> Iterator[Finding]:
    """The classifier's rules, and those of incidents, which may speak of its classes."""
    path = settings.classifier.rules
    try:
        classes = Classifier.load(path).catalogue
    except RulesError as error:
        yield Finding(False, "rules", str(error))
        return
    yield Finding(True, "rules", f"{path or 'built in'}, {len(classes)} classes")
    yield from _targets(settings, classes)
    faults = settings.incidents.faults_of_classes(classes)
    for fault in faults:
        yield Finding(False, "incidents", fault)
    if not faults:
        names = ", ".join(rule.name for rule in settings.incidents.in_force())
        yield Finding(True, "incidents", f"rules {names}" if names else "no rules")


def _targets(settings: Settings, classes: Collection[str]) -> Iterator[Finding]:
    """Who is told of incidents; whether they can be is for `sendtrace alerts test` to say."""
    faults = faults_of_labels(settings, classes)
    for fault in faults:
        yield Finding(False, "targets", fault)
    names = ", ".join(f"{name} ({each.kind})" for name, each in settings.notifications.targets.items())
    if not faults:
        yield Finding(True, "targets", names or "none: nobody is told of incidents")


def _kafka(settings: Settings) -> Iterator[Finding]:
    try:
        looked = look(settings)
    except BrokerError as error:
        yield Finding(False, "kafka", str(error))
        return
    yield Finding(True, "kafka", f"{', '.join(settings.kafka.bootstrap_servers)} answers")
    for each in looked:
        name = each.expected.name
        if each.found is None:
            yield Finding(False, "topic", f"{name} is missing; run `sendtrace topics create`")
        elif not each.differences:
            yield Finding(True, "topic", f"{name}: {safe(described(each.found))}")
        for difference in each.differences:
            yield Finding(False, "topic", f"{name}: {safe(str(difference))}")


@config_app.command("show")
def show(*, config: Config = None, data: Data = None, port: Port = None, admin_port: AdminPort = None) -> None:
    """Print every setting in force, from file, environment and options, with secrets as ***.

    Example: sendtrace config show
    """
    settings = settings_of(config, data=data, port=port, admin_port=admin_port)
    say("\n".join(_tables(settings.masked(), ())).strip())


def _tables(table: dict[str, object], path: tuple[str, ...]) -> Iterator[str]:
    """TOML, with what is not set as a comment."""
    if path and not all(isinstance(value, dict) for value in table.values()):
        yield f"\n[{'.'.join(path)}]"
    yield from _values(table)
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _tables(value, (*path, key))
        elif _is_tables(value):
            for each in value:
                yield f"\n[[{'.'.join((*path, key))}]]"
                yield from _values(each)


def _values(table: dict[str, object]) -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, dict) and not _is_tables(value):
            yield f"# {key} is not set" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _is_tables(value: object) -> TypeGuard[list[dict[str, object]]]:
    """Whether it is what `[[…]]` has several of."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


@schemas_app.command("export")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made when missing.")] = Path("sendtrace-schemas"),
) -> None:
    """Write the JSON Schema of every public record into DIR, a file each.

    Example: sendtrace schemas export ./contracts
    """
    directory.mkdir(parents=True, exist_ok=True)
    for record in PUBLIC_RECORDS:
        path = directory / f"{record.__name__}.json"
        schema = {"$schema": _DIALECT, "$id": f"urn:sendtrace:{record.__name__}", **json_schema(record)}
        path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        say(str(path))
