"""What the commands share: their options, where settings and data come from, and how trouble ends one.

Refuses to guess a data directory that is not there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from processors.providers import discover
from sendtrace.data_paths import DataPaths
from sendtrace.processor_loop import AlreadyRunningError, processor_lock
from sendtrace.read_side import LogView
from sendtrace.settings import DEFAULT_FILE, Settings, load
from sendtrace.settings_model import ENV_PREFIX, StorageSettings

OK: Final = 0
TROUBLE: Final = 1
WRONG_USE: Final = 2

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file. Default: sendtrace.toml in --data, else here."),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data directory instead of the one in the settings."),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65_535, help="Port for postbacks (SENDTRACE_GATEWAY__PORT); 0 takes any."
    ),
]
AdminPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port", metavar="PORT", min=0, max=65_535, help="Port of page and read API (SENDTRACE_ADMIN__PORT)."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


class TroubleError(Exception):
    """The command cannot do what it was asked; the text is one line for the person who asked."""


def settings_of(
    config: Path | None,
    *,
    data: Path | None = None,
    port: int | None = None,
    admin_port: int | None = None,
    takes_postbacks: bool = False,
) -> Settings:
    """The settings in force, the command line's options before all. Raises `SettingsError`.

    `takes_postbacks`: for a role that is of no use without a source.
    """
    given = {
        ("storage", "directory"): None if data is None else str(data),
        ("gateway", "port"): port,
        ("admin", "port"): admin_port,
    }
    overrides: dict[str, object] = {table: {key: value} for (table, key), value in given.items() if value is not None}
    return load(config_file(config, data), overrides=overrides, providers=discover(), takes_postbacks=takes_postbacks)


def config_file(config: Path | None, data: Path | None) -> Path | None:
    """The file to read: the one named, the data directory's own, ours here; none if the environment has it all."""
    if config is not None:
        return config
    if data is not None and (data / DEFAULT_FILE).is_file():
        return data / DEFAULT_FILE
    enough = (f"{ENV_PREFIX}SOURCES__", f"{ENV_PREFIX}KAFKA")  # a container's role may have nothing but its brokers
    in_environment = any(name.upper().startswith(enough) for name in os.environ)
    return None if in_environment and not DEFAULT_FILE.is_file() else DEFAULT_FILE


def data_of(config: Path | None, data: Path | None) -> DataPaths:
    """The data directory to read. Raises `SettingsError`, and `TroubleError` when it holds nothing yet."""
    if data is not None:
        paths = DataPaths(data)
    elif config is None and not DEFAULT_FILE.is_file():
        paths = DataPaths(StorageSettings().directory)
    else:
        paths = DataPaths(settings_of(config).storage.directory)
    if not paths.tables.is_file():
        raise TroubleError(
            f"{paths.directory}: holds no tables of sendtrace; run `sendtrace up` first, or name another with --data"
        )
    return paths


def log_of(paths: DataPaths) -> LogView:
    """The raw log for reading; whoever writes it is another process, or nobody."""
    return LogView(paths.raw, durable_end=lambda: None)


def is_running(paths: DataPaths) -> bool:
    """Whether a sendtrace works on this data directory now: its processor holds the lock."""
    if not paths.processor_lock.exists():
        return False
    try:
        with processor_lock(paths, wait=False):
            return False
    except AlreadyRunningError:
        return True
