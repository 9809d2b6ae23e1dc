"""Frames of the raw log: there and back, cut anywhere, damaged anywhere, forged and repeated."""

from __future__ import annotations

from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.segments import (
    LAST_POSITION,
    MAGIC,
    MAX_FRAME_BYTES,
    FrameDecoder,
    FrameEncoder,
    FrameVersionError,
    Walk,
    walk,
)
from schemas.postback import LogRecord, Postback

_TEXT = st.text(st.characters(), max_size=40) | st.sampled_from(["", "\udc80", "\x00", "é"])
_POSTBACK = st.builds(
    Postback,
    source=_TEXT,
    provider=_TEXT,
    kind=_TEXT,
    receipt_id=st.uuids().map(str),
    received_ms=st.integers(-(2**63), 2**63 - 1),
    content_type=_TEXT,
    content_encoding=_TEXT,
    body=st.binary(max_size=300) | st.just(MAGIC * 20),
)


def _postback(body: bytes = b"{}", content_type: str = "") -> Postback:
    return Postback("braze", "braze", "postback", str(UUID(int=7)), 5, content_type, "", body)


def _frames(bodies: list[bytes], base: int = 0) -> list[bytes]:
    encoder, position, frames = FrameEncoder(), base, []
    for body in bodies:
        frames.append(encoder.encode(_postback(body), position))
        position += len(frames[-1])
    return frames


def _walk(buffer: bytes, floor: int = 0, *, final: bool = True) -> Walk:
    return walk(buffer, floor=floor, ceiling=LAST_POSITION, final=final)


def _bodies(buffer: bytes, floor: int = 0) -> list[bytes]:
    return [FrameDecoder().decode(buffer, frame).postback.body for frame in _walk(buffer, floor).frames]


@given(st.lists(_POSTBACK, max_size=8), st.integers(0, 2**62))
def test_any_postbacks_come_back_as_they_went_in(sent: list[Postback], base: int) -> None:
    encoder, decoder, position = FrameEncoder(), FrameDecoder(), base
    expected, log = [], b""
    for postback in sent:
        expected.append(LogRecord(position, postback))
        log += encoder.encode(postback, position)
        position = base + len(log)

    result = _walk(log, base)

    assert [decoder.decode(log, frame) for frame in result.frames] == expected
    assert (result.damage, result.resume) == ([], len(log))


def test_a_cut_at_any_byte_leaves_exactly_the_frames_wholly_before_it() -> None:
    frames = _frames([b"one", b"", MAGIC, b"four"])
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    log = b"".join(frames)
    for cut in range(len(log) + 1):
        whole = sum(end <= cut for end in ends[1:])
        for final in (True, False):
            result = _walk(log[:cut], final=final)
            assert (len(result.frames), result.damage, result.resume) == (whole, [], ends[whole]), (cut, final)


def test_every_flipped_bit_costs_its_own_record_and_no_other() -> None:
    bodies = [b"one", b"two", b"three"]
    frames = _frames(bodies)
    log = b"".join(frames)
    start, end = len(frames[0]), len(frames[0]) + len(frames[1])
    for bit in range(start * 8, end * 8):
        damaged = bytearray(log)
        damaged[bit // 8] ^= 1 << bit % 8
        assert _bodies(bytes(damaged)) == [b"one", b"three"], bit
        assert _walk(bytes(damaged)).damage == [(start, end - start)]


@pytest.mark.parametrize("slipped_in", [b"\0" * 50, MAGIC, MAGIC * 30, b"foreign"])
def test_bytes_slipped_in_between_frames_cost_no_record(slipped_in: bytes) -> None:
    frames = _frames([b"one", b"two"])
    assert _bodies(frames[0] + slipped_in + frames[1]) == [b"one", b"two"]


def test_a_stray_copy_of_an_older_frame_is_not_a_record() -> None:
    frames = _frames([b"one", b"two", b"three"])
    assert _bodies(b"".join([frames[0], frames[1], frames[0], frames[2]])) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("claimed", [0, 1, 2**62])
def test_a_whole_frame_inside_a_damaged_body_does_not_cost_the_records_behind_it(claimed: int) -> None:
    inner = FrameEncoder().encode(_postback(b"forged"), claimed)
    before, outer, after = _frames([b"before", inner, b"after"])
    broken = outer[:30] + b"\xff" + outer[31:]  # in the receipt id
    assert _bodies(b"".join([before, broken, after])) == [b"before", b"after"]


def test_a_stray_copy_of_a_later_frame_does_not_hide_the_ones_before_it() -> None:
    frames = _frames([b"one", b"two", b"three", b"four"])
    assert _bodies(b"".join([frames[0], frames[2], *frames[1:]])) == [b"one", b"two", b"three", b"four"]


def test_lost_bytes_count_as_damage_although_nothing_strange_is_there() -> None:
    frames = _frames([b"one", b"two", b"three"])
    result = _walk(frames[0] + frames[2])
    assert (len(result.frames), result.damage) == (2, [(len(frames[0]), len(frames[1]))])


def test_a_frame_beyond_the_end_asked_for_is_left_alone() -> None:
    frames = _frames([b"one", b"two"])
    result = walk(b"".join(frames), floor=0, ceiling=len(frames[0]), final=True)
    assert (len(result.frames), result.resume) == (1, len(frames[0]))


def test_a_frame_of_a_newer_version_is_an_error_not_damage() -> None:
    frame = bytearray(_frames([b"new"])[0])
    frame[12] = 2
    frame[8:12] = crc32(frame[12:]).to_bytes(4, "little")
    with pytest.raises(FrameVersionError, match="version 2"):
        _walk(bytes(frame))


def test_unfinished_bytes_at_the_end_are_not_called_damage() -> None:
    frames = _frames([b"one", b"two"])
    assert _walk(frames[0] + frames[1][:-1], final=False).damage == []
    assert _walk(frames[0] + b"\0" * 99, final=True).damage == []


def test_the_largest_frame_fits_and_one_byte_more_is_refused() -> None:
    spare = MAX_FRAME_BYTES - len(_frames([b""])[0])
    assert _bodies(_frames([b"x" * spare])[0]) == [b"x" * spare]
    with pytest.raises(ValueError, match="exceeds the log"):
        _frames([b"x" * (spare + 1)])


def test_meta_that_does_not_fit_its_length_is_refused() -> None:
    fits = FrameEncoder().encode(_postback(content_type="x" * 65_500), 0)
    assert len(_walk(fits).frames) == 1
    with pytest.raises(ValueError, match="together exceed 65535 bytes"):
        FrameEncoder().encode(_postback(content_type="x" * 65_536), 0)


def test_a_receipt_id_that_is_no_uuid_is_refused() -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        FrameEncoder().encode(_postback()._replace(receipt_id="abcd"), 0)


def test_content_types_that_never_repeat_do_not_fill_the_memory() -> None:
    encoder, decoder, position, log = FrameEncoder(), FrameDecoder(), 0, bytearray()
    types = [f"multipart/form-data; boundary={n}" for n in range(3000)] + ["x" * 5000]
    for content_type in types:
        log += encoder.encode(_postback(content_type=content_type), position)
        position = len(log)
    found = [decoder.decode(bytes(log), frame) for frame in _walk(bytes(log)).frames]
    assert [record.postback.content_type for record in found] == types
    assert max(len(encoder._metas), len(decoder._metas)) <= 1024
