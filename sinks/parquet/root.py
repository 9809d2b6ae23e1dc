"""Where the files are: a directory, or a prefix of an S3 bucket. A name there is a whole file or no file.

Locally a file is written under `_sendtrace/`, synced, and renamed; on S3 it is written on this machine and put.
Names that begin with `_` or do not end in `.parquet` are none of a reader's business.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sinks.parquet.trouble import ParquetError, trouble_at

#: Everything of ours that is no row.
OURS: Final = "_sendtrace"
_S3: Final = "s3://"
_CONNECT_S: Final = 5.0
_REQUEST_S: Final = 30.0
_TRIES: Final = 3
_MOST_JSON_BYTES: Final = 1024 * 1024
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
#: For stores that have no regions, which all take this one.
_ANY_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Root:
    """An opened place. `url` is how a person named it, `base` its path within `files`, `local` that of a directory."""

    url: str
    files: fs.FileSystem = field(repr=False)
    base: str
    local: Path | None

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        with trouble_at(self.url):
            return bool(self.files.get_file_info(self._path(name)).type == fs.FileType.File)

    def parquet_files(self, under: str = "") -> list[str]:
        """Names of all Parquet files below a directory, sorted; on S3 a request for every thousand."""
        with trouble_at(self.url):
            found = self.files.get_file_info(fs.FileSelector(self._path(under), allow_not_found=True, recursive=True))
        names = (info.path.removeprefix(self.base).lstrip("/") for info in found if info.type == fs.FileType.File)
        return sorted(name for name in names if name.endswith(".parquet") and not name.startswith(OURS))

    def read_table(self, name: str, schema: pa.Schema | None = None) -> pa.Table:
        """A whole file; without a look at the directories above it."""
        with trouble_at(f"{self.url}/{name}"), self.files.open_input_file(self._path(name)) as file:
            return pq.ParquetFile(file).read() if schema is None else pq.ParquetFile(file).read().cast(schema)

    def rows_of(self, name: str) -> int | None:
        """How many rows a file has, by its footer; `None` without a file."""
        if not self.exists(name):
            return None
        with trouble_at(f"{self.url}/{name}"), self.files.open_input_file(self._path(name)) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)

    def publish(self, made: Path, name: str) -> None:
        """Give a finished file its name, in place of another of that name; `made` is gone afterwards.

        It is durable when this returns. Raises `ParquetError`.
        """
        with trouble_at(f"{self.url}/{name}"):
            if self.local is None:
                self._put(made, name)
            else:
                _rename(made, self.local / name)
        made.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Take a file away; none is fine."""
        if self.exists(name):
            with trouble_at(f"{self.url}/{name}"):
                self.files.delete_file(self._path(name))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A small object of ours, or `None`. Raises `ParquetError` where it is none."""
        if not self.exists(name):
            return None
        with trouble_at(f"{self.url}/{name}"), self.files.open_input_file(self._path(name)) as file:
            data = file.read(_MOST_JSON_BYTES)
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise ParquetError(f"{self.url}/{name}: is no JSON of ours; take it away, or give another place")
        return found

    def write_json(self, name: str, value: dict[str, Any], temporary: Path) -> None:
        """Put a small object in place of the one there is, whole or not at all; by way of a temporary directory."""
        made = temporary / "object.json"
        with trouble_at(f"{self.url}/{name}"):
            made.write_bytes(orjson.dumps(value))
        self.publish(made, name)

    @contextlib.contextmanager
    def temporary(self, purpose: str, *, spool: Path | None = None) -> Iterator[Path]:
        """An empty directory for files that are not finished, gone afterwards; what a kill left of it is removed.

        The caller is alone with its purpose. On S3 it is below `spool`, else wherever this machine has such things.
        """
        if self.local is not None:
            directory = self.local / OURS / purpose
        elif spool is not None:
            directory = spool / purpose
        else:
            with TemporaryDirectory(prefix="sendtrace-parquet-") as made:
                yield Path(made)
            return
        with trouble_at(str(directory)):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[None]:
        """Be alone on this machine with what the name says; on S3 nobody can be kept away, and nobody is.

        Raises `ParquetError` where another is, unless `wait`.
        """
        if self.local is None:
            yield
            return
        path = self.local / OURS / f"{name}.lock"
        with trouble_at(self.url):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise ParquetError(
                    f"{self.url}: another sendtrace writes there; stop it, or give another place"
                ) from None
            yield
        finally:
            os.close(handle)

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}" if name else self.base

    def _put(self, made: Path, name: str) -> None:
        """In one write: a stream that is closed after half a file would make an object of the half."""
        size = made.stat().st_size
        with pa.memory_map(str(made)) as source, self.files.open_output_stream(self._path(name)) as stream:
            stream.write(source.read_buffer(size))
        if self.files.get_file_info(self._path(name)).size != size:
            raise ParquetError(f"{self.url}/{name}: S3 has not all of what it said it took; run it again")


def open_root(url: str, *, s3_endpoint: str | None = None, environment: dict[str, str] | None = None) -> Root:
    """A directory, which is made when missing, or `s3://bucket/prefix`. Raises `ParquetError`.

    Credentials, region and, unless `s3_endpoint` says otherwise, endpoint of S3 come from the standard variables of
    AWS in `environment`, which is the process's own unless given.
    """
    if not url.startswith(_S3):
        if "://" in url:
            raise ParquetError(f"{url}: expected a directory, or s3://BUCKET/PREFIX")
        directory = Path(url).absolute()
        with trouble_at(url):
            directory.mkdir(parents=True, exist_ok=True)
        return Root(url.rstrip("/") or "/", fs.LocalFileSystem(), str(directory), directory)
    base = url.removeprefix(_S3).strip("/")
    if not base or "@" in base.partition("/")[0]:
        raise ParquetError("expected s3://BUCKET/PREFIX; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    with trouble_at(url):
        found = os.environ if environment is None else environment
        return Root(url.rstrip("/"), _s3(base.partition("/")[0], s3_endpoint, found), base, None)


def _s3(bucket: str, endpoint: str | None, environment: Any) -> fs.FileSystem:  # noqa: ANN401  os.environ or a dict
    address = endpoint or next((environment[name] for name in _ENDPOINTS if environment.get(name)), None)
    region = next((environment[name] for name in _REGIONS if environment.get(name)), None)
    options: dict[str, Any] = {}
    if address is not None:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    if region is None:
        region = fs.resolve_s3_region(bucket) if address is None else _ANY_REGION
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)
    return fs.S3FileSystem(
        region=region, connect_timeout=_CONNECT_S, request_timeout=_REQUEST_S, retry_strategy=retry, **options
    )


def _rename(made: Path, target: Path) -> None:
    with made.open("rb") as file:
        os.fsync(file.fileno())
    new = [parent for parent in (target.parent, *target.parent.parents) if not parent.is_dir()]
    target.parent.mkdir(parents=True, exist_ok=True)
    made.replace(target)
    for directory in (target.parent, *(parent.parent for parent in new)):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
