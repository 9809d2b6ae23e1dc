"""The list of what was erased as a file beside the tables, so that it outlives them.

Whoever deletes the tables to build them again from the raw log gets them without what was erased.
Written whole, fsynced and put in place at once: there is never half a list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, get_args

from schemas.personal import Erased, Shape
from sinks.tables.trouble import TablesError

_DIGEST_CHARS: Final = 64


def read_list(path: Path) -> list[Erased]:
    """The entries; none without a file. Raises `TablesError` for one that is no list, `OSError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise TablesError(f"{path}: is no list of erasures; restore it from a backup") from error
    return [_entry(path, number, line) for number, line in enumerate(lines, start=1)]


def add_to_list(path: Path, entries: Iterable[Erased]) -> int:
    """Put entries behind those that are there, each once; how many were new. Durable when it returns."""
    known = read_list(path)
    digests = {entry.digest for entry in known}
    new = [entry for entry in dict.fromkeys(entries) if entry.digest not in digests]
    if new:
        text = "".join(json.dumps(entry._asdict()) + "\n" for entry in (*known, *new))
        _put(path, text.encode())
    return len(new)


def _put(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _entry(path: Path, number: int, line: str) -> Erased:
    try:
        found = Erased(**json.loads(line))
    except (ValueError, TypeError):
        found = None
    if (
        found is None
        or found.shape not in get_args(Shape)
        or type(found.chars) is not int
        or not all(isinstance(text, str) for text in (found.digest, found.key_id, found.erased_at))
        or len(found.digest) != _DIGEST_CHARS
    ):
        raise TablesError(f"{path}: line {number} is no entry of a list of erasures; restore it from a backup")
    return found
