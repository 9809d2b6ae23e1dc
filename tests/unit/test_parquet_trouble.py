"""What the disk and S3 say, as one line that a person can act on."""

from __future__ import annotations

import errno
import os

import pytest

from sinks.parquet.trouble import ParquetError, trouble_at


def said(error: OSError) -> str:
    with pytest.raises(ParquetError) as found, trouble_at("out"):
        raise error
    return str(found.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; make room and run it again, what is"),
        (PermissionError(errno.EACCES, "Permission denied"), "no right to write there"),
        (OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), "Not a directory"),
        (
            OSError("When writing: AWS Error ACCESS_DENIED during PutObject: x"),
            "no right to do that; look at the rights",
        ),
        (OSError("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload"), "there is no such bucket; make it first"),
        (
            OSError("AWS Error SLOW_DOWN during PutObject:\n" + "wait " * 100),
            "AWS Error SLOW_DOWN during PutObject: wait",
        ),
        (OSError(), "OSError"),
    ],
)
def test_it_is_one_line_that_begins_with_the_place(error: OSError, told: str) -> None:
    line = said(error)

    assert line.startswith(f"out: {told}")
    assert "\n" not in line
    assert len(line) < 250


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ValueError, match="ours"), trouble_at("out"):
        raise ValueError("ours")
