"""Asks a Kafka broker who is in its cluster: the one question that a broker answers only when it is ready.

It accepts connections seconds before. Plain sockets instead of a client, so that it can be asked from anywhere,
inside or outside of an event loop, and says nothing to any log.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable

_METADATA, _VERSION = 3, 1
_CLIENT = b"sendtrace-tests"
_MOST_BYTES = 1 << 20
_PAUSE_S = 0.1


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises `ValueError`."""
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is no host:port")
    return host, int(port)


def brokers_at(address: str, *, within_s: float = 1.0) -> int:
    """How many brokers the one at `address` (`host:port`) knows to be at work; 0 if it does not answer in time."""
    request = struct.pack(">hhih", _METADATA, _VERSION, 1, len(_CLIENT)) + _CLIENT + struct.pack(">i", 0)
    try:
        with socket.create_connection(split_address(address), within_s) as connection:
            connection.settimeout(within_s)
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size_bytes,) = struct.unpack(">i", _exactly(connection, 4))
            if not 8 <= size_bytes <= _MOST_BYTES:
                return 0
            # Behind the number of our request stands the array of brokers; its length is all that is wanted.
            (brokers,) = struct.unpack(">4xi", _exactly(connection, size_bytes)[:8])
            return int(brokers)
    except OSError:
        return 0


def _exactly(connection: socket.socket, size_bytes: int) -> bytes:
    """Raises `OSError` when the connection ends before."""
    found = b""
    while len(found) < size_bytes:
        more = connection.recv(size_bytes - len(found))
        if not more:
            raise ConnectionError("cut short")
        found += more
    return found


def wait_for_brokers(
    addresses: Iterable[str], *, count: int, within_s: float, hopeless: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until each of `addresses` knows `count` brokers; false when the time is over or `hopeless` says so."""
    deadline_s = time.monotonic() + within_s
    missing = list(addresses)
    while missing and time.monotonic() < deadline_s and not hopeless():
        missing = [address for address in missing if brokers_at(address) < count]
        if missing:
            time.sleep(_PAUSE_S)
    return not missing
