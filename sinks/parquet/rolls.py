"""Transitions as files that are closed for good: each roll takes the next rows by `seq`, a file a day and source.

Exactly once. A file's name has the first and last `seq` of its roll, and its rows are all rows between of its day
and source, which never change. So a roll can be repeated: how far it goes is put down first (`to`), then its files
get their names, then it is put down as done. Whoever starts after a kill makes what is missing of a roll that was put
down, and nothing twice; before that no name was given. Where the note is lost, the names say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sinks.parquet.columns import last_of
from sinks.parquet.datasets import LAYOUTS, TRANSITIONS
from sinks.parquet.files import Files, Made, by_day_and_source
from sinks.parquet.root import OURS, Root
from sinks.parquet.rows import Rows
from sinks.parquet.trouble import ParquetError

NOTE: Final = f"{OURS}/transitions.json"
#: Alone with the files from reading rows to their names; `sinks.parquet.rewrite` waits for it.
WRITING: Final = "writing"
_FORMAT: Final = 1
_LAYOUT: Final = LAYOUTS[TRANSITIONS.name]
#: More days and sources than this in one roll end it: each is an open file.
_MOST_FILES: Final = 256
_PART: Final = re.compile(r"part-(\d{12,})-(\d{12,})\.parquet$")


class Note(NamedTuple):
    """How far the files go. `to`: the end of a roll whose files may have their names in part; 0 without one."""

    done: int
    to: int
    rolled_ms: int


class Limits(NamedTuple):
    """When a roll is as large as it may be: its largest file in bytes, or all its rows."""

    bytes: int
    rows: int


@dataclass(slots=True)
class Written:
    """Counters since this process started; one thread writes, any may read."""

    rows: int = 0
    files: int = 0
    bytes: int = 0


class StoppedError(Exception):
    """Somebody asked to stop; what was being made is left out."""


def part_name(directory: str, done: int, to: int) -> str:
    """`transitions/day=…/source=…/part-000000000001-000000000500.parquet`: rows after `done` up to `to`."""
    return f"{TRANSITIONS.name}/{directory}/part-{done + 1:012d}-{to:012d}.parquet"


@dataclass(slots=True)
class Rolls:
    """The one writer of transitions at a place; used by one thread. `temporary` is a directory of its own."""

    root: Root
    rows: Rows
    limits: Limits
    temporary: Path
    is_stopping: Callable[[], bool] = lambda: False
    written: Written = field(default_factory=Written)
    _note: Note | None = None

    def note(self) -> Note:
        """How far it is, from the place itself at first. Raises `ParquetError` where exports lie, or other tables'."""
        if self._note is None:
            found = _note_at(self.root)
            if found.done > (last := self.rows.last_transition()):
                raise ParquetError(
                    f"{self.root.url}: goes to transition {found.done}, the tables only to {last}: they are others, or"
                    " were made anew; give another place"
                )
            self._note = found
        return self._note

    def roll(self, now_ms: int) -> int:
        """Finish what was interrupted, else take what is new, up to the limits; returns how many rows it took.

        Raises `ParquetError`, `sqlite3.Error`, `TablesError`: call again; nothing is lost and nothing doubled.
        """
        try:
            return self._roll(self.note(), now_ms)
        except BaseException:
            self._note = None  # what the place says is what counts
            raise

    def _roll(self, note: Note, now_ms: int) -> int:
        with self.root.lock(WRITING, wait=True):
            files = Files(_LAYOUT, self.temporary, by_day_and_source(_LAYOUT))
            try:
                to, count = self._read(note, files)
                made = files.close()
            except BaseException:
                files.abandon()
                raise
            if to == note.done:
                return 0
            if not note.to:
                self._save(note, Note(note.done, to, note.rolled_ms))
            self._name(made, note.done, to)
            self._save(Note(note.done, to, note.rolled_ms), Note(to, 0, now_ms))
        self.written.rows += count
        return count

    def _read(self, note: Note, files: Files) -> tuple[int, int]:
        """Where the roll ends, and how many rows it has. One that was put down ends where it was to end."""
        limit = 2**62 if note.to else self.limits.rows
        end, count = note.to or note.done, 0
        for piece in self.rows.transitions(note.done, to=note.to or None, limit=limit):
            if self.is_stopping():
                raise StoppedError
            files.add(piece)
            count += piece.num_rows
            if not note.to:
                end = last_of(piece, TRANSITIONS.key)
                if files.largest_bytes() >= self.limits.bytes or files.count() > _MOST_FILES:
                    break
        return end, count

    def _name(self, made: list[Made], done: int, to: int) -> None:
        for one in made:
            name = part_name(one.directory, done, to)
            if self.root.exists(name):  # named before a kill, and perhaps rewritten since
                one.path.unlink()
                continue
            self.root.publish(one.path, name)
            self.written.files += 1
            self.written.bytes += one.bytes

    def _save(self, before: Note, after: Note) -> None:
        if _kept(self.root) not in {before, None}:
            raise ParquetError(f"{self.root.url}: another sendtrace writes there; stop it, or give another place")
        value = {"format": _FORMAT, "done": after.done, "to": after.to, "rolled_ms": after.rolled_ms}
        self.root.write_json(NOTE, value, self.temporary)
        self._note = after


def _kept(root: Root) -> Note | None:
    kept = root.read_json(NOTE)
    if kept is None:
        return None
    if kept.get("format") != _FORMAT:
        raise ParquetError(f"{root.url}/{NOTE}: of another release; give another place, or use that release")
    return Note(kept["done"], kept["to"], kept["rolled_ms"])


def _note_at(root: Root) -> Note:
    kept = _kept(root)
    return _told_by_names(root.url, root.parquet_files(TRANSITIONS.name)) if kept is None else kept


def _told_by_names(url: str, names: list[str]) -> Note:
    """The last roll may lack files, so it is taken for one that was interrupted."""
    ranges = {tuple(map(int, found.groups())) if (found := _PART.search(name)) else None for name in names}
    if None in ranges:
        raise ParquetError(f"{url}: has Parquet files of an export, or of somebody else; give another place")
    if not ranges:
        return Note(0, 0, 0)
    first, last = max(pair for pair in ranges if pair is not None)
    return Note(first - 1, last, 0)
