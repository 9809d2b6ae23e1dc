"""The settings of a process, merged from command line, environment and file, or one line for each fault.

A command-line value goes before the environment, that before the file, that before the default. A
key that does not exist is refused wherever it stands, with the nearest one that does: a misspelt
limit that silently kept its default would be found on the wrong day.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource
from typing_extensions import override

from sendtrace.settings_faults import Keys, Layers, Table, booleans, faults_of, key_text, unknown_word
from sendtrace.settings_model import (
    BROKERS_KEYS,
    BROKERS_VARIABLE,
    ENV_NESTING,
    ENV_PREFIX,
    Settings,
    leaf_keys,
)

__all__ = ["DEFAULT_FILE", "Settings", "SettingsError", "load"]

DEFAULT_FILE: Final = Path("sendtrace.toml")

_MOST_FILE_BYTES: Final = 1024 * 1024


class SettingsError(Exception):
    """Settings that cannot be used. `faults` holds one line for each: where, which key, what is wrong, what to do."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _Environment(EnvSettingsSource):
    """The `SENDTRACE_…` variables as nested texts; the model reads them.

    pydantic-settings would read JSON into them first, which makes a password of digits a number.
    `SENDTRACE_KAFKA` is the one that holds a table's only interesting key: the brokers.
    """

    @override
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: str) -> str | Table:
        table, key = BROKERS_KEYS
        return {key: value} if field_name == table else value


def load(
    path: Path | None = DEFAULT_FILE,
    *,
    overrides: Mapping[str, object] | None = None,
    providers: Collection[str] | None = None,
    takes_postbacks: bool = True,
) -> Settings:
    """The settings of `path` (`None`: of no file), the environment and `overrides`, a nested table by key.

    `providers` are the provider names there are; `None` takes any. `takes_postbacks`: they are for
    somebody who needs a source. Raises `SettingsError` with one line for every fault.
    """
    faults = _misspelt_variables()
    layers = Layers(dict(overrides or {}), _Environment(Settings)(), _read(path), path, _short_variables())
    faults += booleans(Settings, layers)
    try:
        settings = Settings.model_validate(layers.merged())
    except ValidationError as error:
        raise SettingsError(*faults, *faults_of(error, Settings, layers)) from None
    faults += _unknown_providers(settings, layers, providers)
    if takes_postbacks and not settings.sources:
        expected = Settings.model_fields["sources"].description
        faults.append(f"{layers.origin(('sources',))}: sources: is missing, expected {expected}; add it")
    if faults:
        raise SettingsError(*faults)
    return settings


def _read(path: Path | None) -> Table:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_FILE_BYTES + 1)
        if len(data) > _MOST_FILE_BYTES:
            raise SettingsError(f"{path}: larger than {_MOST_FILE_BYTES} bytes, expected a settings file")
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors begin a file with a byte order mark
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; run `sendtrace init` to make one") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; expected a readable file") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: line {line}: not UTF-8, expected TOML in UTF-8; save it as such") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {_syntax_fault(str(error), data)}; correct the TOML there") from None


def _syntax_fault(told: str, data: bytes) -> str:
    found = re.search(r" \(at line (\d+), column (\d+)\)$", told)
    if found:
        return f"line {found[1]}, column {found[2]}: {told[: found.start()]}"
    # `(at end of document)`, and numbers or nesting beyond what Python reads.
    lines = data.decode("utf-8-sig").split("\n")
    return f"line {len(lines)}, column {len(lines[-1]) + 1}: {told.removesuffix(' (at end of document)')}"


def _short_variables() -> dict[Keys, str]:
    """Keys whose value came from a variable that is not named by them."""
    names = {name.upper() for name, value in os.environ.items() if value}
    long = ENV_PREFIX + ENV_NESTING.join(BROKERS_KEYS).upper()
    return {BROKERS_KEYS: BROKERS_VARIABLE} if BROKERS_VARIABLE in names and long not in names else {}


def _misspelt_variables() -> list[str]:
    """Variables that look like settings and are none.

    Only such with our nesting, or our names with one underscore for two: a Kubernetes service called
    `sendtrace` puts `SENDTRACE_PORT=tcp://…` and more of its kind into every container beside it.
    """
    singles = {ENV_PREFIX + "_".join(keys).upper(): keys for keys in leaf_keys() if "NAME" not in keys}
    faults = []
    for name, value in sorted(os.environ.items()):
        table, nested, _ = name.upper().removeprefix(ENV_PREFIX).lower().partition(ENV_NESTING)
        if name.upper().startswith(ENV_PREFIX) and nested and table not in Settings.model_fields:
            faults.append(f"{name}: there is no table {table}; {unknown_word(table, Settings.model_fields)}")
        if name.upper() in singles and "://" not in value:
            right = ENV_PREFIX + ENV_NESTING.join(singles[name.upper()]).upper()
            faults.append(f"{name}: is not read, expected two underscores between table and key; write {right}")
    return faults


def _unknown_providers(settings: Settings, layers: Layers, known: Collection[str] | None) -> list[str]:
    faults = []
    for name, source in settings.sources.items():
        if known is not None and source.provider not in known:
            keys = ("sources", name, "provider")
            hint = unknown_word(source.provider, known)
            faults.append(f"{layers.origin(keys)}: {key_text(keys)}: there is no provider {source.provider!r}; {hint}")
    return faults
