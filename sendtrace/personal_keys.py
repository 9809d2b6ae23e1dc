"""The key under which personal data is sealed and erasures are kept: the settings', or the data directory's own.

The key never stands on a command line; children get it in their environment.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processors.personal import Mode, Seal
from schemas.personal import Digests
from sendtrace.data_paths import DataPaths
from sendtrace.erasure_file import read_list
from sendtrace.settings import Settings, SettingsError
from sinks.personal.held import check_key

#: Where a child of ours finds the key; nobody sets it by hand.
CHILD_VARIABLE: Final = "SENDTRACE_CHILD_PERSONAL_KEY"
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PersonalKeys:
    """What is made of the key. `digests` is `None` without one: then nothing is sealed, and nothing can be erased."""

    digests: Digests | None = None
    seal: Seal | None = None


NO_KEYS: Final = PersonalKeys()


def keys_of(mode: str, secret: str | None) -> PersonalKeys:
    """For a mode of the settings. Without a secret there are none."""
    if secret is None:
        return NO_KEYS
    return PersonalKeys(Digests(secret), None if mode == "off" else Seal(secret, encrypted=mode == "encrypted"))


def secret_on_kafka(settings: Settings) -> str | None:
    """The settings' key, which every role must have alike. Raises `SettingsError` where it is needed and not set."""
    key, mode = settings.personal.key, settings.personal.mode
    if key is None and mode == "encrypted":
        raise SettingsError(
            'personal.mode is "encrypted" and personal.key is not set, expected the same key on every role; set it, as'
            " SENDTRACE_PERSONAL__KEY"
        )
    return None if key is None else key.get_secret_value()


def secret_embedded(paths: DataPaths, settings: Settings | None, *, make: bool) -> str | None:
    """The key of a data directory: the one its list of erasures was made with, the settings', its own file's.

    With `make` a file is made where there is none. Raises `TablesError` when neither is the list's, `OSError`.
    """
    key = None if settings is None else settings.personal.key
    given = [None if key is None else key.get_secret_value(), _of_directory(paths.personal_key)]
    found = [secret for secret in given if secret is not None]
    entries = read_list(paths.erasures)
    made_with = {entry.key_id for entry in entries}
    if made_with:
        found = [secret for secret in found if made_with == {Digests(secret).key_id}]
        check_key(Digests(found[0]) if found else None, entries)
    if not found and make:
        return _made(paths.personal_key)
    return found[0] if found else None


def child_environment(secret: str | None) -> dict[str, str]:
    """This process's environment with the key for a child."""
    inherited = {name: value for name, value in os.environ.items() if name != CHILD_VARIABLE}
    return inherited if secret is None else {**inherited, CHILD_VARIABLE: secret}


def child_keys(mode: Mode) -> PersonalKeys:
    """In a child: the keys its parent gave it."""
    return keys_of(mode, os.environ.get(CHILD_VARIABLE))


def _of_directory(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def _made(path: Path) -> str:
    """A new key, unless another process was quicker."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _of_directory(path) or secret
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{secret}\n")
        file.flush()
        os.fsync(handle)
    return secret
