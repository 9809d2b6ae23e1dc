"""Taking possession of the raw log's directory: making it, its lock, what does not belong in it.

Refuses, in one line a person can act on, a directory that cannot be used or has a writer already.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
from pathlib import Path
from typing import Final

from ingest.segment_files import FILE_MODE, Disk, segment_base, sync_directory

LOCK_NAME: Final = "lock"
ONLY_PEOPLE_CAN_FIX: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST})
_DIRECTORY_MODE: Final = 0o750
_COUNTS_NAME: Final = re.compile(r"(\d{20}|archive)\.counts\.json")
_TEMPORARY_NAME: Final = re.compile(r"((\d{20}|archive)\.counts\.json\.\d+|probe)\.tmp")
_NAMED_STRANGERS: Final = 3

_log = logging.getLogger(__name__)


class LogDirectoryError(Exception):
    """The directory cannot be used; the text says what, where, what was expected and what to do."""


def take_directory(directory: Path, disk: Disk) -> int:
    """Make the directory if need be and become its only writer; returns the descriptor of the lock.

    Leftovers of a crash are removed, foreign files are named in a warning and left alone. Raises
    `LogDirectoryError`.
    """
    try:
        _make(directory, disk)
        lock_fd = _lock(directory)
    except OSError as error:
        raise explain(error, directory) from error
    strangers: list[str] = []
    for path in sorted(directory.iterdir()):
        name = path.name
        if _TEMPORARY_NAME.fullmatch(name):
            path.unlink(missing_ok=True)
        elif name != LOCK_NAME and segment_base(name) is None and not _COUNTS_NAME.fullmatch(name):
            strangers.append(name)
    if strangers:
        named = ", ".join(strangers[:_NAMED_STRANGERS]) + (" …" if len(strangers) > _NAMED_STRANGERS else "")
        _log.warning("raw log: %d files in %s are not sendtrace's, ignored: %s", len(strangers), directory, named)
    return lock_fd


def explain(error: OSError, directory: Path) -> LogDirectoryError:
    """One line for what stands in the way: rights, owner, a file in its place, a broken disk."""
    where = Path(error.filename) if isinstance(error.filename, str) else directory
    owner = "an unknown user"
    for path in (directory, where):  # of the file itself, if it lets itself be looked at
        with contextlib.suppress(OSError):
            owner = f"user {path.stat().st_uid}"
    return LogDirectoryError(
        f"raw log: cannot use {where}: {error.strerror} (owned by {owner}, sendtrace runs as user {os.geteuid()}); "
        f"expected {directory} to be a directory that this user can read and write, with all files in it: "
        "change its owner or rights, or choose another data directory"
    )


def _make(directory: Path, disk: Disk) -> None:
    """Make the directory and those above it, each name durable."""
    if directory.is_dir():
        return
    if not directory.parent.is_dir():
        _make(directory.parent, disk)
    directory.mkdir(mode=_DIRECTORY_MODE)
    sync_directory(disk, directory.parent)


def _lock(directory: Path) -> int:
    """The lock lives as long as the descriptor and its copies in forked children: start other
    processes by spawning, or a child that outlives the writer keeps the next one out."""
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise LogDirectoryError(
            f"raw log: {directory} is being written by another sendtrace (process {holder}); "
            "a directory has one writer: stop the other, or choose another data directory"
        ) from None
    with contextlib.suppress(OSError):  # who holds it is a courtesy; a full disk must not stop the start
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
    return fd
