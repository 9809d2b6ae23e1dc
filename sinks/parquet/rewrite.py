"""Change rows of files that are there: what `sendtrace erase` needs to take a person out of them.

First erase in the tables, then here: it waits for the roll or hour being written on this machine, and whatever is
written later has rows of the tables as they are then. On S3 it cannot wait, so run it again a few minutes later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from sinks.parquet.datasets import LAYOUTS
from sinks.parquet.rolls import WRITING
from sinks.parquet.root import Root
from sinks.parquet.trouble import trouble_at

_COMPRESSION: Final = "zstd"
_ROWS_PER_GROUP: Final = 100_000

#: Given the rows of one file, with its columns: the rows it is to have, with the same columns, the very same table
#: where nothing is to change, or `None` (or no rows) where the file is to go.
Redact = Callable[[pa.Table], pa.Table | None]


@dataclass(slots=True)
class Rewritten:
    """What was done to how many files."""

    read: int = 0
    rewritten: int = 0
    removed: int = 0


def rewrite(root: Root, redact: Redact, *, spool: Path | None = None) -> Rewritten:
    """Give every Parquet file at `root` to `redact` and put what it returns in its place, each whole or not at all.

    After a kill, call it again: what is changed already is given to `redact` once more. `spool` is where files are
    made before they go to S3. Raises `ParquetError`, and what `redact` raises.
    """
    done = Rewritten()
    with root.lock(WRITING, wait=True), root.temporary("rewriting", spool=spool) as temporary:
        for name in root.parquet_files():
            _rewrite_one(root, name, redact, temporary, done)
    return done


def _rewrite_one(root: Root, name: str, redact: Redact, temporary: Path, done: Rewritten) -> None:
    before = root.read_table(name)
    after = redact(before)
    done.read += 1
    if after is None or not after.num_rows:
        root.remove(name)
        done.removed += 1
    elif after is not before and not after.equals(before):
        layout = LAYOUTS.get(name.partition("/")[0])
        made = temporary / "file.tmp"
        with trouble_at(str(made)):
            pq.write_table(
                after.cast(before.schema),
                made,
                compression=_COMPRESSION,
                row_group_size=_ROWS_PER_GROUP,
                use_dictionary=layout.words if layout is not None else True,
            )
        root.publish(made, name)
        done.rewritten += 1
