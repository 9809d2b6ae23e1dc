"""The raw log's frames: one postback to bytes, bytes back to postbacks, and the way past damage.

Pure functions on bytes: nothing here opens a file or knows a directory. A frame is

    magic 4 | length u32 | crc32 u32 | version u8 | position u64 | received_ms i64 | receipt id 16 |
    meta length u16 | meta | body

little-endian; `length` counts what follows the crc, and the crc covers the same bytes. `meta` is kind,
source, provider, content type and content encoding, each with a u16 length. A frame carries its own
position in the log, so that bytes lost or slipped in before it do not rename it, and a stray copy of
an old frame is not taken for a new record.

Refuses to guess: a frame whose checksum or position is wrong is damage, and a frame of an unknown
version is an error, never skipped.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

from schemas.postback import LogRecord, Postback

# No byte of UTF-8 text is 0xff or 0xfe, so a JSON or form body never looks like the start of a frame.
MAGIC: Final = b"\xffSt\xfe"
VERSION: Final = 1
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_META_BYTES: Final = 0xFFFF
LAST_POSITION: Final = 2**63 - 1  # fits SQLite's integers

_HEAD: Final = struct.Struct("<4sII")
_FIXED: Final = struct.Struct("<BQq16sH")
_PREFIX: Final = struct.Struct("<4sIIBQq16sH")  # both in one go
_TEXT_LENGTH: Final = struct.Struct("<H")
_CACHED_METAS: Final = 1024
_CACHED_META_BYTES: Final = 256  # a multipart boundary makes every content type new; long ones are not worth keeping

PREFIX_BYTES: Final = _PREFIX.size

# What a NamedTuple's own constructor calls; three of them a record cost a fifth of its reading.
_tuple: Final = tuple.__new__

Meta = tuple[str, str, str, str, str]  # kind, source, provider, content type, content encoding


class FrameVersionError(Exception):
    """A whole frame, written by a newer sendtrace: reading on would drop what cannot be understood."""


class Frame(NamedTuple):
    """Where a whole frame lies in a buffer, with what its prefix says; `size` is 0 for `CUT`."""

    offset: int
    size: int
    position: int
    received_ms: int
    receipt: bytes
    meta_bytes: int


CUT: Final = Frame(0, 0, 0, 0, b"", 0)  # what is there may be a frame, its end is not in the buffer


class Damage(NamedTuple):
    """Bytes that are not what was written, or are not there at all, at `offset` of a buffer."""

    offset: int
    size_bytes: int


class Walk(NamedTuple):
    """What one buffer holds: whole frames in order, the damage between them, and `resume`, the
    offset behind the last whole frame."""

    frames: list[Frame]
    damage: list[Damage]
    resume: int


def _pack_meta(meta: Meta) -> bytes:
    # A header may hold anything; surrogates are how Python carries bytes that are not text.
    texts = [text.encode("utf-8", "surrogatepass") for text in meta]
    if len(texts) * 2 + sum(map(len, texts)) > MAX_META_BYTES:
        raise ValueError(f"source, provider and content type together exceed {MAX_META_BYTES} bytes")
    return b"".join(_TEXT_LENGTH.pack(len(text)) + text for text in texts)


def _unpack_meta(packed: bytes) -> Meta:
    texts: list[str] = []
    at = 0
    for _ in range(5):
        end = at + 2 + _TEXT_LENGTH.unpack_from(packed, at)[0]
        texts.append(packed[at + 2 : end].decode("utf-8", "surrogatepass"))
        at = end
    return texts[0], texts[1], texts[2], texts[3], texts[4]


class FrameEncoder:
    """Postbacks to frames, about a microsecond each; remembers the packed meta it has seen, bounded."""

    __slots__ = ("_metas",)

    def __init__(self) -> None:
        self._metas: dict[Meta, bytes] = {}

    def encode(self, postback: Postback, position: int) -> bytes:
        """The frame of `postback` at `position`.

        Raises `ValueError` for what the log cannot hold: a frame above `MAX_FRAME_BYTES`, meta above
        `MAX_META_BYTES`, a receipt id that is no UUID. The caller's limits must lie below.
        """
        source, provider, kind, receipt_id, received_ms, content_type, content_encoding, body = postback
        key = (kind, source, provider, content_type, content_encoding)
        meta = self._metas.get(key)
        if meta is None:
            meta = self._remember(key)
        receipt = bytes.fromhex(receipt_id.replace("-", ""))
        if len(receipt) != 16:  # struct would pad or cut it without a word  # noqa: PLR2004 (a UUID's bytes)
            raise ValueError("the receipt id is not a UUID")
        payload = _FIXED.pack(VERSION, position, received_ms, receipt, len(meta)) + meta + body
        if len(payload) > MAX_FRAME_BYTES - _HEAD.size:
            raise ValueError(f"a postback of {len(body)} bytes exceeds the log's {MAX_FRAME_BYTES} for one frame")
        return _HEAD.pack(MAGIC, len(payload), crc32(payload)) + payload

    def _remember(self, key: Meta) -> bytes:
        meta = _pack_meta(key)
        if len(meta) <= _CACHED_META_BYTES:
            if len(self._metas) >= _CACHED_METAS:
                self._metas.clear()
            self._metas[key] = meta
        return meta


class FrameDecoder:
    """Frames found by `walk` back to records, about two microseconds each; same bounded memory."""

    __slots__ = ("_metas",)

    def __init__(self) -> None:
        self._metas: dict[bytes, Meta] = {}

    def decode(self, buffer: bytes, frame: Frame) -> LogRecord:
        """The record in `frame`, which `walk` or `frame_at` found in this very `buffer`."""
        offset, size, position, received_ms, receipt, meta_bytes = frame
        body_at = offset + PREFIX_BYTES + meta_bytes
        packed = buffer[offset + PREFIX_BYTES : body_at]
        kind, source, provider, content_type, content_encoding = self._metas.get(packed) or self._remember(packed)
        text = receipt.hex()
        receipt_id = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        body = buffer[body_at : offset + size]
        fields = (source, provider, kind, receipt_id, received_ms, content_type, content_encoding, body)
        return _tuple(LogRecord, (position, _tuple(Postback, fields)))

    def source(self, buffer: bytes, frame: Frame) -> str:
        """The source of the record in `frame`, without touching its body."""
        start = frame.offset + PREFIX_BYTES
        packed = buffer[start : start + frame.meta_bytes]
        return (self._metas.get(packed) or self._remember(packed))[1]

    def _remember(self, packed: bytes) -> Meta:
        meta = _unpack_meta(packed)
        if len(packed) <= _CACHED_META_BYTES:
            if len(self._metas) >= _CACHED_METAS:
                self._metas.clear()
            self._metas[packed] = meta
        return meta


def claimed_size(buffer: bytes) -> int:
    """The size the frame at the start of `buffer` says it has; 0 where not even that can be read."""
    return _HEAD.size + int.from_bytes(buffer[4:8], "little") if len(buffer) >= PREFIX_BYTES else 0


def frame_at(buffer: bytes, view: memoryview, at: int, floor: int, ceiling: int) -> Frame | None:
    """The whole frame at `at` with `floor` ≤ its positions < `ceiling`; `CUT` if the buffer ends
    before it does; `None` if there is none. `view` is a memoryview of `buffer`."""
    if len(buffer) - at < PREFIX_BYTES:
        return CUT if MAGIC.startswith(buffer[at : at + len(MAGIC)]) else None
    magic, length, crc, version, position, received_ms, receipt, meta_bytes = _PREFIX.unpack_from(buffer, at)
    size = _HEAD.size + length
    if magic != MAGIC or not PREFIX_BYTES + meta_bytes <= size <= MAX_FRAME_BYTES:
        return None
    # Positions before the checksum: cheap, and it keeps a body full of frame starts from costing
    # one checksum each while searching. Only this version's layout is known to have one here.
    if version == VERSION and not floor <= position <= ceiling - size:
        return None
    if at + size > len(buffer):
        return CUT
    if crc32(view[at + _HEAD.size : at + size]) != crc:
        return None
    if version != VERSION:
        raise FrameVersionError(f"a frame of version {version}; this sendtrace reads version {VERSION}")
    return Frame(at, size, position, received_ms, receipt, meta_bytes)


def _next_frame(buffer: bytes, view: memoryview, at: int, floor: int, ceiling: int, *, final: bool) -> Frame | None:
    """The frame to go on with where the one of position `floor` is not at `at`; `None` if there is
    none or, not `final`, none for sure.

    The frame of `floor` itself, or one as far behind it in the log as in the buffer: only the bytes
    between were changed. Otherwise bytes were lost or slipped in, and the smallest position is the
    next one: a stray frame, or one forged in a body, must not make the records before it look old.
    """
    best: Frame | None = None
    found = buffer.find(MAGIC, at)
    while found >= 0:
        frame = frame_at(buffer, view, found, floor, ceiling)
        if frame is CUT and not final:
            return None
        if frame is not None and frame is not CUT:
            if frame.position - floor in {0, found - at}:
                return frame
            if best is None or frame.position < best.position:
                best = frame
        # Whole frames are stepped over: what looks like one inside is somebody's body.
        found = buffer.find(MAGIC, found + max(1, frame.size if frame else 0))
    return best if final else None


def walk(buffer: bytes, *, floor: int, ceiling: int, final: bool) -> Walk:
    """All whole frames of `buffer`, in the order of their positions from `floor` up to `ceiling`.

    `final`: nothing follows the buffer, so a frame cut by its end is broken. Otherwise the walk
    stops at whatever only more bytes can decide, and the caller goes on at `resume` with more. Bytes
    behind the last whole frame are never called damage here: they may be a torn tail, or unfinished.
    """
    view = memoryview(buffer)
    frames: list[Frame] = []
    damage: list[Damage] = []
    at = 0
    while at < len(buffer):
        at, floor = _walk_whole(buffer, view, at, floor, ceiling, frames)
        frame = _next_frame(buffer, view, at, floor, ceiling, final=final)
        if frame is None:
            break
        damage.append(Damage(at, max(frame.offset - at, frame.position - floor)))
        at, floor = frame.offset, frame.position
    return Walk(frames, damage, at)


def _walk_whole(
    buffer: bytes, view: memoryview, at: int, floor: int, ceiling: int, frames: list[Frame]
) -> tuple[int, int]:
    """Add the unbroken run of frames from `at` on to `frames`; returns where and at which position it ends.

    `frame_at` without the calls: every record ever read goes through here. What fails here is looked
    at again there, which knows why.
    """
    last = len(buffer) - PREFIX_BYTES
    while at <= last:
        magic, length, crc, version, position, received_ms, receipt, meta_bytes = _PREFIX.unpack_from(buffer, at)
        size = _HEAD.size + length
        end = at + size
        sound = magic == MAGIC and version == VERSION and position == floor <= ceiling - size
        if not sound or end > len(buffer) or crc32(view[at + _HEAD.size : end]) != crc:
            break
        if not PREFIX_BYTES + meta_bytes <= size <= MAX_FRAME_BYTES:
            break
        frames.append(_tuple(Frame, (at, size, position, received_ms, receipt, meta_bytes)))
        at = end
        floor = position + size
    return at, floor
