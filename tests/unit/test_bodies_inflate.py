"""Compressed bodies: what is undone, and what a hostile one cannot do."""

from __future__ import annotations

import gzip
import zlib

import pytest

from processors.inflate import GZIP_MEMBERS_MAX, INFLATED_MAX_BYTES, NotCompressedError, inflate
from schemas.event import Rejected
from schemas.rejections import RejectReason

TEXT = b'{"dispatch_id":"d","status":"sent"}'


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def _reason(body: bytes, encoding: str) -> RejectReason:
    found = inflate(body, encoding)
    assert isinstance(found, Rejected), found
    return found.reason


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), " X-GZIP "),
        (gzip.compress(TEXT) + bytes(20), "gzip"),
        (gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (_raw_deflate(TEXT), "deflate"),
        (gzip.compress(zlib.compress(TEXT)), "deflate, gzip"),
    ],
)
def test_known_encodings_are_undone(body: bytes, encoding: str) -> None:
    assert inflate(body, encoding) == TEXT


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br", "gzip;q=1", "utf-8"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    assert _reason(gzip.compress(TEXT), encoding) is RejectReason.BAD_ENCODING


def test_a_long_list_of_encodings_is_refused() -> None:
    assert _reason(gzip.compress(TEXT), "gzip, gzip, gzip, gzip") is RejectReason.BAD_ENCODING


@pytest.mark.parametrize("body", [gzip.compress(TEXT)[:-3], gzip.compress(TEXT)[:20], gzip.compress(TEXT) + b"more"])
def test_damaged_gzip_is_refused(body: bytes) -> None:
    assert _reason(body, "gzip") is RejectReason.BAD_ENCODING


@pytest.mark.parametrize("body", [zlib.compress(TEXT) + b"more", zlib.compress(TEXT)[:-3], _raw_deflate(TEXT) + b"1"])
def test_damaged_deflate_is_not_taken_for_compressed(body: bytes) -> None:
    with pytest.raises(NotCompressedError):
        inflate(body, "deflate")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_plain_text_is_not_taken_for_compressed(encoding: str) -> None:
    with pytest.raises(NotCompressedError):
        inflate(TEXT, encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_largest_body_allowed_is_inflated_and_one_byte_more_is_not(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress

    assert inflate(pack(bytes(INFLATED_MAX_BYTES)), encoding) == bytes(INFLATED_MAX_BYTES)
    assert _reason(pack(bytes(INFLATED_MAX_BYTES + 1)), encoding) is RejectReason.INFLATED_TOO_LARGE


def test_the_bound_holds_over_all_members_together() -> None:
    half = gzip.compress(bytes(INFLATED_MAX_BYTES // 2))

    assert inflate(half * 2, "gzip") == bytes(INFLATED_MAX_BYTES)
    assert _reason(half * 2 + gzip.compress(b"1"), "gzip") is RejectReason.INFLATED_TOO_LARGE


def test_the_number_of_members_is_bounded() -> None:
    empty = gzip.compress(b"")

    assert inflate(empty * GZIP_MEMBERS_MAX, "gzip") == b""
    assert _reason(empty * (GZIP_MEMBERS_MAX + 1), "gzip") is RejectReason.BAD_ENCODING


def test_a_bomb_inside_a_bomb_is_bounded_at_the_first_layer_too_large() -> None:
    bomb = gzip.compress(gzip.compress(bytes(50 * INFLATED_MAX_BYTES)))

    assert _reason(bomb, "gzip, gzip") is RejectReason.INFLATED_TOO_LARGE
