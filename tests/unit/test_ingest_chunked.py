"""Chunked bodies: what is read, what is refused, and that cuts change nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.answers import BAD_FRAMING, BODY_TOO_LARGE, Answer, Refused
from ingest.chunked import ChunkedBody
from ingest.limits import Limits

LIMITS = replace(Limits(), body_bytes=100, chunk_extension_bytes=16, chunks_per_body=5, trailer_bytes=40)


def read(wire: bytes, *cuts: int, limits: Limits = LIMITS) -> tuple[bytes, bytes] | Answer:
    """The body and what lies behind it, or the refusal; the wire is fed in pieces."""
    chunks = ChunkedBody(limits)
    edges = [0, *sorted(cuts), len(wire)]
    try:
        for start, end in pairwise(edges):
            took = chunks.feed(wire[:end], start)
            if chunks.done:
                return bytes(chunks.body), wire[took:]
            assert took == end, "it waits for more only when it has taken everything"
    except Refused as refused:
        return refused.answer
    raise EOFError


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"hello\r\n\r\n\r\n"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", b"01234567890123456789"),
        (b"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", b"x"),
        (b"1;a=b\r\nx\r\n0;end\r\n\r\n", b"x"),
        (b"1\r\nx\r\n0\r\nDigest: a\r\nEmpty:\r\n\r\n", b"x"),
    ],
)
def test_chunks_are_joined_and_framing_is_left_out(wire: bytes, body: bytes) -> None:
    assert read(wire) == (body, b"")


def test_what_lies_behind_the_body_is_left_alone() -> None:
    assert read(b"1\r\nx\r\n0\r\n\r\nPOST /in") == (b"x", b"POST /in")


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1 \r\nx\r\n",
        b" 1\r\nx\r\n",
        b"1 ;a\r\nx\r\n",
        b"1_0\r\nx\r\n",
        b"00000000000000001\r\nx\r\n",
        b"1\nx\r\n",
        b"1\rx\r\n",
        b"1\r\rx",
        b"1;a\rb\r\nx\r\n",
        b"1;a\x00\r\nx\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxy\r\n0\r\n\r\n",
        b"2\r\nx\r\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"0\r\n\n",
        b"0\r\nX\r\n",
        b"0\r\nno colon\r\n",
        b"0\r\nA: b\r\n folded\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
    ],
)
def test_framing_that_could_be_read_two_ways_is_refused(wire: bytes) -> None:
    assert read(wire + b"0\r\n\r\n" * 20) is BAD_FRAMING


def test_a_body_may_reach_its_limit() -> None:
    assert read(b"32\r\n%b\r\n32\r\n%b\r\n0\r\n\r\n" % (b"x" * 50, b"y" * 50)) == (b"x" * 50 + b"y" * 50, b"")


@pytest.mark.parametrize("wire", [b"65\r\n", b"32\r\n%b\r\n33\r\n" % (b"x" * 50), b"ffffffffffffffff\r\n"])
def test_a_chunk_past_the_limit_is_refused_when_it_is_announced(wire: bytes) -> None:
    assert read(wire) is BODY_TOO_LARGE


def test_an_extension_may_reach_its_limit_and_no_more() -> None:
    assert read(b"1;%b\r\nx\r\n0\r\n\r\n" % (b"e" * 15)) == (b"x", b"")
    assert read(b"1;%b\r\nx\r\n0\r\n\r\n" % (b"e" * 16)) is BAD_FRAMING


def test_a_long_size_does_not_lend_its_room_to_the_extension() -> None:
    assert read(b"0000000000000001;%b\r\nx\r\n0\r\n\r\n" % (b"e" * 15)) == (b"x", b"")
    assert read(b"1;%b\r\nx\r\n0\r\n\r\n" % (b"e" * 20)) is BAD_FRAMING


def test_an_endless_extension_is_refused_and_never_kept() -> None:
    chunks = ChunkedBody(LIMITS)

    with pytest.raises(Refused):
        chunks.feed(b"1;" + b"e" * 10_000_000)

    assert not chunks.body
    assert len(chunks._line) == 0


def test_chunks_may_reach_their_number_and_no_more() -> None:
    assert read(b"1\r\nx\r\n" * 5 + b"0\r\n\r\n") == (b"xxxxx", b"")
    assert read(b"1\r\nx\r\n" * 6 + b"0\r\n\r\n") is BAD_FRAMING


def test_trailers_may_reach_their_limit_and_no_more() -> None:
    """Two lines of 20 bytes with their CRLF are 40."""
    line = b"Trailer-Name: 1234\r\n"
    assert read(b"0\r\n" + line * 2 + b"\r\n") == (b"", b"")
    assert read(b"0\r\n" + line + b"1" + line + b"\r\n") is BAD_FRAMING
    assert read(b"0\r\n" + line * 3 + b"\r\n") is BAD_FRAMING


WIRE = b"5;x=1\r\nhello\r\n2\r\n\r\n\r\n0\r\nA: b\r\n\r\nNEXT"


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    assert read(WIRE, *cuts) == (b"hello\r\n", b"NEXT")


@pytest.mark.parametrize("cut", range(1, 12))
def test_cuts_do_not_hide_a_bad_line(cut: int) -> None:
    assert read(b"1;" + b"e" * 16 + b"\r\nx\r\n0\r\n\r\n", cut) is BAD_FRAMING


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_a_body_or_refused(wire: bytes, cut: int) -> None:
    try:
        read(wire, min(cut, len(wire)))
    except EOFError:
        return  # it waits for more


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_whatever_is_chunked_is_read_back(pieces: list[bytes]) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    assert read(wire) == (b"".join(pieces), b"")
