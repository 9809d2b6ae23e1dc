"""The state of one partition's messages on disk, with its position in topic `status`: a cache that can be rebuilt.

What is in it is what topic `status` said up to `position`, never more: it is written after the
transaction that wrote the topic, both the states and the position in one RocksDB write batch. So a
process that ends at any instant leaves it behind the topic at most, and reads on from there: by up to
`_WRITE_BUFFER_BYTES`, for what is not flushed yet is in memory only.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from schemas.kafka_outputs import state_of
from schemas.records import StatusRecord

_MIB: Final = 1024 * 1024
_CACHE_BYTES: Final = 64 * _MIB
_WRITE_BUFFER_BYTES: Final = 8 * _MIB
_WRITE_BUFFERS: Final = 2
_OPEN_FILES: Final = 128
_BLOOM_BITS_PER_KEY: Final = 10
_POSITION: Final = b"position"  # no message id: those are 32 hex digits

_log = logging.getLogger(__name__)


class StateError(OSError):
    """The disk under the state failed: nobody's record is at fault."""


class RocksStates:
    """The states of one partition; a `StateStore`. One process at a time has it open, one thread uses it.

    A directory that cannot be opened (a torn file, another format) is said, removed and made anew. Once
    open, trouble raises `StateError`.
    """

    def __init__(self, path: Path, *, cache: Cache | None = None) -> None:
        self._path = path
        self._options = _options(cache or shared_cache())
        # Without RocksDB's own log: what a crash takes back is in the topic, from the position it takes back with it.
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[assignment, method-assign]  # its stub has a method, it has not
        self._db = self._open()
        self.position = self._stored_position()

    def get_many(self, message_ids: Iterable[str]) -> dict[str, StatusRecord]:
        """The states that exist, by message id (`schemas.ports.StateStore`)."""
        wanted = list(message_ids)
        found = self.get_bytes([message_id.encode() for message_id in wanted])
        return {key: state_of(value) for key, value in zip(wanted, found, strict=True) if value is not None}

    def get_bytes(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys` as they were written, `None` for those that are not there."""
        try:
            return cast("list[bytes | None]", self._db.get(list(keys)))
        except Exception as error:  # rocksdict raises bare exceptions with RocksDB's words
            raise StateError(f"{self._path}: cannot be read: {error}") from error

    def write(self, states: Iterable[tuple[bytes, bytes | None]], position: int) -> None:
        """States as topic `status` has them before `position`; `None` takes one away. All of it or nothing."""
        batch = WriteBatch(raw_mode=True)
        for key, value in states:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_POSITION, b"%d" % position)
        try:
            self._db.write(batch, self._unlogged)
        except Exception as error:  # as above
            raise StateError(f"{self._path}: cannot be written: {error}") from error
        self.position = position

    def clear(self) -> None:
        """Forget everything: what is here is of another topic."""
        self._db.close()
        shutil.rmtree(self._path)
        self._db = self._open()
        self.position = 0

    def close(self) -> None:
        """Give the files back, with everything in them."""
        self._db.flush()
        self._db.close()

    def _open(self) -> Rdict:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return Rdict(str(self._path), options=self._options)
        except Exception as error:
            if "lock" in str(error).lower():  # another process has it; its data are well
                raise
            _log.warning("%s: cannot be read, it is made anew from the topic: %s", self._path, error)
            shutil.rmtree(self._path, ignore_errors=True)
            return Rdict(str(self._path), options=self._options)

    def _stored_position(self) -> int:
        stored = cast("bytes | None", self._db.get(_POSITION))
        return 0 if stored is None else int(stored)


def shared_cache() -> Cache:
    """Blocks for all the partitions of a process together, so that memory does not grow with their number."""
    return Cache(_CACHE_BYTES)


def _options(cache: Cache) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(_BLOOM_BITS_PER_KEY, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(_WRITE_BUFFERS)
    options.set_max_open_files(_OPEN_FILES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    return options
