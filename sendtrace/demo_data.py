"""The demo's data directory: settings and tokens made on the spot, what an earlier demo left removed.

Refuses a directory that holds something else, and one in which a demo is running: it deletes only
what a demo made.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sendtrace.data_paths import DataPaths
from sendtrace.init_config import SOURCES
from sendtrace.tokens import digest_of, make_token, write_private

#: Lies in every demo's directory, and is locked while the demo runs.
MARK_NAME: Final = "demo.lock"
CONFIG_NAME: Final = "sendtrace.toml"
_SQLITE_FILES: Final = ("", "-wal", "-shm", "-journal")


class DemoError(Exception):
    """The demo cannot have this directory; the text is one line for the person who started it."""


class DemoData(NamedTuple):
    """A directory made ready: where its settings lie, and the token of each source."""

    config: Path
    tokens: dict[str, str]


@contextmanager
def demo_data(directory: Path) -> Iterator[DemoData]:
    """A fresh demo directory, held until the block ends; its data stays for `sendtrace show`. Raises `DemoError`."""
    mark = directory / MARK_NAME
    if directory.exists() and not mark.exists() and any(directory.iterdir()):
        raise DemoError(f"{directory}: holds something that no demo made; name another directory with --data")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, directory)
        _remove_old(directory)
        yield _renewed(directory)
    finally:
        os.close(handle)


def _lock(handle: int, directory: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DemoError(
            f"{directory}: a demo is running here; stop it, or name another directory with --data"
        ) from None


def _remove_old(directory: Path) -> None:
    paths = DataPaths(directory)
    shutil.rmtree(paths.raw, ignore_errors=True)
    tables = (paths.tables.with_name(paths.tables.name + suffix) for suffix in _SQLITE_FILES)
    for path in (*tables, paths.processor_lock, paths.attempt, directory / CONFIG_NAME):
        path.unlink(missing_ok=True)


def _renewed(directory: Path) -> DemoData:
    tokens = {name: make_token() for name in SOURCES}
    lines = [
        "# Made anew by every `sendtrace demo`.",
        "[storage]",
        f"directory = {json.dumps(str(directory.absolute()))}",
    ]
    for name, provider in SOURCES.items():
        lines += [f"[sources.{name}]", f'provider = "{provider}"', f'token_sha256 = ["{digest_of(tokens[name])}"]']
    config = directory / CONFIG_NAME
    write_private(config, "\n".join((*lines, "")))
    return DemoData(config, tokens)
