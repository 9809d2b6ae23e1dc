"""Every bound of the gateway in one place, each with its unit in its name.

At a bound is accepted, one past it is refused. Defaults are facts/reliability.md §5.9, but for
`connections_per_address`: one provider sends from one address, and 10,000 idle connections of it must not shut it out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request, one connection and all of them together may take.

    `request_line_bytes` is counted without its CRLF, `headers_bytes` is the header lines with
    theirs, `chunk_extension_bytes` is from the `;` to the end of one chunk's size line.
    Deadlines are kept by a sweep: they strike between 0 and 2 `sweep_period_s` late, never early.
    Raises `ValueError` naming the limit when a value is not above zero.
    """

    # one request
    body_bytes: int = 512 * _KIB
    request_line_bytes: int = 8 * _KIB
    headers_bytes: int = 16 * _KIB
    header_fields: int = 100
    chunk_extension_bytes: int = 16
    chunks_per_body: int = 16_384  # a body of one-byte chunks costs a hundred times its size in work
    trailer_bytes: int = 1 * _KIB

    # one connection
    pipelined_requests: int = 32
    header_deadline_s: float = 10.0  # from the connection, or the first byte of a later request, to the head's end
    body_deadline_s: float = 30.0  # from the head's end to the body's
    idle_deadline_s: float = 75.0  # between requests
    answer_deadline_s: float = 30.0  # from a complete request to the log's word; then 503
    write_deadline_s: float = 30.0  # how long a sender may leave its answers unread
    linger_s: float = 2.0  # after a refusal: time for the sender to read it before the connection ends
    linger_bytes: int = 1 * _MIB  # and what of its unread body is thrown away meanwhile

    # all together
    open_connections: int = 12_000
    connections_per_address: int = 11_000  # leaves a thousand to all others; trusted proxies do not count
    in_flight_bytes: int = 64 * _MIB  # accepted and not yet durable
    partial_bytes: int = 64 * _MIB  # received of requests not yet complete
    known_heads: int = 1_024  # request heads remembered; the memory is at most this times `known_head_bytes`
    known_head_bytes: int = 2 * _KIB

    # stopping, and the sweep
    drain_idle_s: float = 0.25  # an idle connection may still bring a request that was already on its way
    drain_deadline_s: float = 5.0  # half-received requests are given this long, then 503
    sweep_period_s: float = 0.5

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0:
                raise ValueError(f"{limit.name} is {value!r}, expected a number above 0")
