"""The answers table: every row as bytes, and what each must carry."""

from __future__ import annotations

import pytest

from ingest.answers import ANSWERS, KEPT, NOT_FOUND, RETRY_AFTER_S, WRONG_METHOD, Answer

BY_REASON = {
    "kept": 200,
    "bad_framing": 400,
    "cut_short": 400,
    "not_found": 404,
    "wrong_method": 405,
    "too_slow": 408,
    "body_too_large": 413,
    "unknown_expectation": 417,
    "head_too_large": 431,
    "not_kept": 503,
    "late": 503,
    "in_flight_full": 503,
    "partial_full": 503,
    "connections_full": 503,
    "stopping": 503,
}

every_row = pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.reason)


def test_the_table_has_these_rows_and_no_reason_twice() -> None:
    assert len(ANSWERS) == len(BY_REASON)
    assert {row.reason: row.status for row in ANSWERS} == BY_REASON


def test_kept_is_exactly_200_and_as_short_as_can_be() -> None:
    assert KEPT.keep_bytes == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert KEPT.close_bytes == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_wrong_method_names_the_right_one() -> None:
    assert b"\r\nAllow: POST\r\n" in WRONG_METHOD.keep_bytes


def test_not_found_says_nothing_but_its_code() -> None:
    assert NOT_FOUND.keep_bytes == (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )


@every_row
def test_a_row_renders_one_whole_response_without_a_body(row: Answer) -> None:
    for rendered in (row.keep_bytes, row.close_bytes):
        head, end, body = rendered.partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 %d %b\r\n" % (row.status, row.phrase.encode()))
        assert b"\r\nContent-Length: 0" in head
        assert (end, body) == (b"\r\n\r\n", b"")


@every_row
def test_a_row_says_close_where_it_closes(row: Answer) -> None:
    assert b"\r\nConnection: close\r\n" in row.close_bytes
    assert (b"Connection" in row.keep_bytes) is row.closes


@every_row
def test_503_and_nothing_else_carries_retry_after(row: Answer) -> None:
    assert (b"\r\nRetry-After: %d\r\n" % RETRY_AFTER_S in row.keep_bytes) is (row.status == 503)


@every_row
def test_a_4xx_may_not_be_cached_because_its_url_is_a_secret(row: Answer) -> None:
    assert (b"\r\nCache-Control: no-store\r\n" in row.keep_bytes) is (400 <= row.status < 500)


@every_row
def test_a_row_tells_people_when_it_happens_and_what_to_do(row: Answer) -> None:
    assert row.when
    assert row.sender
