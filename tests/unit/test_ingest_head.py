"""Heads: what is taken from them, what is refused, limits at and past their bound, cuts anywhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.answers import BAD_FRAMING, HEAD_TOO_LARGE, Answer, Refused
from ingest.head import HEAD_END, Head, HeadReader, read_head
from ingest.limits import Limits

LIMITS = replace(Limits(), request_line_bytes=60, headers_bytes=400, header_fields=10)


def read(wire: bytes, *cuts: int, limits: Limits = LIMITS) -> tuple[Head, bytes] | Answer:
    """The head and what lies behind it, or the refusal; the wire is fed in pieces."""
    reader = HeadReader(limits)
    edges = [0, *sorted(cuts), len(wire)]
    try:
        for start, end in pairwise(edges):
            took = reader.feed(wire[:end], start) if end > start else start
            if reader.head is not None:
                return reader.head, wire[took:]
            assert took == end, "it waits for more only when it has taken everything"
    except Refused as refused:
        return refused.answer
    raise EOFError


def head(*fields: bytes, line: bytes = b"POST /in/a/b HTTP/1.1") -> Head:
    found = read(b"\r\n".join((line, *fields, b"", b"")))
    assert not isinstance(found, Answer), found
    return found[0]


def test_what_matters_is_taken_from_a_head() -> None:
    found = head(
        b"Host: h",
        b"content-TYPE:  application/json ",
        b"Content-Encoding: gzip",
        b"Content-Length: 12",
        b"Authorization: Basic xyz",
        b"Expect: 100-Continue",
        b"X-Forwarded-For: 1.1.1.1",
        b"X-Forwarded-For: 2.2.2.2",
    )

    assert found == Head(
        method=b"POST",
        target=b"/in/a/b",
        persistent=True,
        length=12,
        chunked=False,
        expectation=b"100-continue",
        content_type="application/json",
        content_encoding="gzip",
        authorization=b"Basic xyz",
        forwarded_for=b"1.1.1.1, 2.2.2.2",
        signed_id=b"",
        signed_time=b"",
        signatures=b"",
    )


def test_a_request_without_length_has_an_empty_body() -> None:
    found = head(b"Host: h")

    assert (found.length, found.chunked) == (0, False)


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b" chunked "])
def test_chunked_is_the_one_transfer_coding(value: bytes) -> None:
    found = head(b"Transfer-Encoding:" + value)

    assert (found.length, found.chunked) == (0, True)


@pytest.mark.parametrize(
    ("line", "fields", "persistent"),
    [
        (b"POST /a HTTP/1.1", (), True),
        (b"POST /a HTTP/1.1", (b"Connection: close",), False),
        (b"POST /a HTTP/1.1", (b"Connection: x, CLOSE ,y",), False),
        (b"POST /a HTTP/1.1", (b"Connection: keep-alive", b"Connection: close"), False),
        (b"POST /a HTTP/1.0", (), False),
        (b"POST /a HTTP/1.0", (b"Connection: keep-alive",), False),
    ],
)
def test_a_connection_lasts_unless_someone_says_close(
    line: bytes, fields: tuple[bytes, ...], *, persistent: bool
) -> None:
    assert head(*fields, line=line).persistent is persistent


def test_http_1_0_knows_no_expectations() -> None:
    assert head(b"Expect: 100-continue", line=b"POST /a HTTP/1.0").expectation == b""


def test_a_content_type_is_recorded_bounded_and_without_controls() -> None:
    assert head(b"Content-Type: a\tb\x80\xe9").content_type == "ab\xe9"
    assert head(b"Content-Type: " + b"x" * 300).content_type == "x" * 200


@pytest.mark.parametrize(
    "fields",
    [
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5",
    ],
)
def test_an_upgrade_is_not_followed_and_the_body_is_left_in_place(fields: bytes) -> None:
    found = read(b"POST /a HTTP/1.1\r\n" + fields + b"\r\n\r\nhello")

    assert not isinstance(found, Answer)
    assert (found[0].length, found[1]) == (5, b"hello")


def test_connect_is_a_method_like_any_other() -> None:
    assert head(line=b"CONNECT h:443 HTTP/1.1").method == b"CONNECT"


def test_one_empty_line_before_a_request_is_passed_over_and_a_second_is_not() -> None:
    assert not isinstance(read(b"\r\nPOST /a HTTP/1.1\r\n\r\n"), Answer)
    assert read(b"\r\n\r\nPOST /a HTTP/1.1\r\n\r\n") is BAD_FRAMING


@pytest.mark.parametrize("before", [b"\r", b"\n", b"\r\n\r", b"\r\n\n", b"\n\n", b" "])
def test_nothing_else_may_stand_before_a_request(before: bytes) -> None:
    wire = before + b"POST /a HTTP/1.1\r\n\r\n"

    assert {read(wire, cut) for cut in range(len(wire))} == {BAD_FRAMING}


BAD_LINES = [
    b"GET /",
    b"GET / HTTP/0.9",
    b"POST /a HTTP/1.2",
    b"POST /a HTTP/2.0",
    b"PRI * HTTP/2.0",
    b"POST /a RTSP/1.0",
    b"post /a HTTP/1.1",
    b"POST /a HTTP/1.1 ",
    b"POST /a\x00b HTTP/1.1",
    b"POST /a b HTTP/1.1",
    b"NOTAMETHOD /a HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
BAD_FIELDS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5 5",
    b"Content-Length:",
    b"Content-Length: 99999999999999999999",
    b"Content-Length : 5",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"A: x\r\n folded",
    b" A: x",
    b"A: x\x00y",
    b"A: x\ry",
    b"A: x\nB: y",
    b"A",
    b": x",
    b"A b: x",
    b"A\x80: x",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_what_is_not_http_1_is_refused(line: bytes) -> None:
    assert read(line + b"\r\n\r\n" + b"\r\n\r\n") is BAD_FRAMING


@pytest.mark.parametrize("fields", BAD_FIELDS)
def test_a_head_that_could_be_read_two_ways_is_refused(fields: bytes) -> None:
    assert read(b"POST /in/a/b HTTP/1.1\r\n" + fields + b"\r\n\r\n") is BAD_FRAMING


def test_bare_line_feeds_do_not_end_a_head() -> None:
    assert read(b"POST /a HTTP/1.1\n\n\r\n\r\n") is BAD_FRAMING
    assert read(b"POST /a HTTP/1.1\r\nA: b\r\n\nX: y\r\n\r\n") is BAD_FRAMING


def test_transfer_encoding_means_nothing_in_http_1_0_and_is_refused() -> None:
    assert read(b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n") is BAD_FRAMING


def line_of(size: int) -> bytes:
    return b"POST /%b HTTP/1.1" % (b"x" * (size - 15))


def test_a_request_line_may_reach_its_limit_and_no_more() -> None:
    assert not isinstance(read(line_of(60) + b"\r\n\r\n"), Answer)
    assert read(line_of(61) + b"\r\n\r\n") is HEAD_TOO_LARGE


def test_an_endless_request_line_is_refused_before_it_ends() -> None:
    assert read(line_of(1000)[:62]) is HEAD_TOO_LARGE


def headers_of(size: int) -> bytes:
    return b"A: %b\r\n" % (b"x" * (size - 5))


@pytest.mark.parametrize("fields", [1, 2, 8])
def test_headers_may_reach_their_limit_and_no_more(fields: int) -> None:
    each = headers_of(400 // fields)

    assert not isinstance(read(line_of(60) + b"\r\n" + each * fields + b"\r\n"), Answer)
    assert read(line_of(20) + b"\r\n" + each * (fields - 1) + b"B" + each + b"\r\n") is HEAD_TOO_LARGE


def test_endless_headers_are_refused_before_they_end() -> None:
    assert read(line_of(20) + b"\r\n" + headers_of(1000)[:402]) is HEAD_TOO_LARGE


def test_fields_may_reach_their_number_and_no_more() -> None:
    assert not isinstance(read(line_of(20) + b"\r\n" + b"A: b\r\n" * 10 + b"\r\n"), Answer)
    assert read(line_of(20) + b"\r\n" + b"A: b\r\n" * 11 + b"\r\n") is HEAD_TOO_LARGE


WIRE = (
    b"\r\nPOST /in/a/b?q HTTP/1.1\r\nEmpty:\r\nHost: h\r\n"
    b"Content-Length: 5\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello"
)


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    assert read(WIRE, *cuts) == read(WIRE)


@given(st.lists(st.integers(0, 500), max_size=6), st.sampled_from([60, 61]), st.sampled_from([400, 401]))
def test_cuts_do_not_move_the_limits(cuts: list[int], line: int, headers: int) -> None:
    wire = line_of(line) + b"\r\n" + headers_of(headers) + b"\r\n"

    found = read(wire, *[min(cut, len(wire)) for cut in cuts])

    assert (found is HEAD_TOO_LARGE) is ((line, headers) != (60, 400))


@given(
    st.binary(max_size=200) | st.text(alphabet="POST /inHT1.\r\n:AC", max_size=200).map(str.encode), st.integers(0, 200)
)
def test_any_bytes_are_a_head_or_refused(wire: bytes, cut: int) -> None:
    try:
        read(wire, min(cut, len(wire)))
    except EOFError:
        return  # it waits for more


PIECES = st.sampled_from([
    *(line + b"\r\n" for line in (b"POST /a HTTP/1.1", b"GET /b HTTP/1.0", *BAD_LINES)),
    *(fields + b"\r\n" for fields in (b"A: b", b"Content-Length: 5", b"Expect: 100-continue", *BAD_FIELDS)),
    headers_of(200),
    b"\n",
    b"\r\n",
])  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=12).map(b"".join))
def test_a_head_known_to_be_whole_is_judged_like_any_other(start: bytes) -> None:
    wire = start[: start.find(HEAD_END)] + HEAD_END if HEAD_END in start else start + b"\r\n"
    try:
        at_once: Head | Answer = read_head(wire, LIMITS)
    except Refused as refused:
        at_once = refused.answer
    try:
        found = read(wire)
    except EOFError:  # nothing but the empty line that may stand before a request
        found = BAD_FRAMING
    by_reader = found if isinstance(found, Answer) else found[0]

    # The one empty line before a head is no part of it: whoever calls `read_head` has to look.
    assert at_once == by_reader or (wire.startswith(b"\r\n") and isinstance(at_once, Answer))
