"""What goes wrong between tables and Parquet files, in one line a person can act on."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_AWS_ERROR: Final = re.compile(r"AWS Error ([A-Z_]+)")
_MOST_TOLD: Final = 200
_TOLD: Final = {
    "NO_SUCH_BUCKET": "there is no such bucket; make it first",
    "ACCESS_DENIED": "no right to do that; look at the rights of the AWS credentials in use",
    "INVALID_ACCESS_KEY_ID": "the access key is not known there; look at AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong; look at AWS_SECRET_ACCESS_KEY",
    "NETWORK_CONNECTION": "cannot be reached; look at the network, AWS_REGION, and parquet.s3_endpoint",
}
_ON_DISK: Final = {
    errno.ENOSPC: "the disk is full; make room and run it again, what is there is whole",
    errno.EDQUOT: "the disk quota is used up; make room and run it again, what is there is whole",
    errno.EACCES: "no right to write there",
    errno.EROFS: "no right to write there: the file system is read-only",
}


class ParquetError(Exception):
    """One line: where, what, and what to do. Trying again may help."""


@contextmanager
def trouble_at(place: str) -> Iterator[None]:
    """What the disk or S3 says inside becomes a `ParquetError` that begins with `place`."""
    try:
        yield
    except OSError as error:
        raise ParquetError(f"{place}: {_told(error)}") from error


def _told(error: OSError) -> str:
    if found := _AWS_ERROR.search(str(error)):
        return _TOLD.get(found[1], " ".join(str(error).split())[:_MOST_TOLD])
    if error.errno in _ON_DISK:
        return _ON_DISK[error.errno]
    return (error.strerror or " ".join(str(error).split()) or type(error).__name__)[:_MOST_TOLD]
