"""One answer owed: made when a request is complete, settled by the log, sent in the order of requests."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ingest.answers import KEPT, NOT_KEPT, Answer
from ingest.auth import Source
from ingest.counters import Counters, SourceCounts
from ingest.signatures import Signed


class Admission(NamedTuple):
    """A head that may be followed by its body: who posts, how the body is framed, what is recorded.

    `signed` is `None` where the source asks for no signature. `length` is 0 for chunked bodies.
    """

    source: Source
    counts: SourceCounts
    length: int
    chunked: bool
    persistent: bool
    expectation: bytes
    content_type: str
    content_encoding: str
    signed: Signed | None


class Answering(Protocol):
    """Whoever sends the answers of one connection."""

    def flush(self) -> None:
        """Send what is settled, as far as the order of the requests allows."""
        ...


class Owed:
    """One place in the order of answers; a refusal stands in it with its answer known."""

    __slots__ = ("answer", "due_s")

    def __init__(self, answer: Answer | None, due_s: float) -> None:
        self.answer = answer
        self.due_s = due_s


class Ticket(Owed):
    """The waiter of one accepted request. `answer` is set once: by the log, a deadline or a refusal.

    Bytes in flight are given back when the log settles, not when the sender is answered: a late
    answer frees no memory.
    """

    __slots__ = ("_counters", "_counts", "_owner", "size_bytes")

    def __init__(self, owner: Answering, counts: SourceCounts, counters: Counters, due_s: float) -> None:
        self.answer = None  # not through Owed: this is made for every request
        self.due_s = due_s
        self.size_bytes = 0  # set when the log is given the request
        self._owner = owner
        self._counts = counts
        self._counters = counters

    def settle(self, kept: bool) -> None:  # noqa: FBT001 — the port's signature
        """For the log. Too late changes no answer."""
        self._counters.in_flight_bytes -= self.size_bytes
        if kept:
            self._counts.kept += 1
        else:
            self._counts.not_kept += 1
            self._counters.refused[NOT_KEPT.reason] += self.answer is None
        if self.answer is None:
            self.answer = KEPT if kept else NOT_KEPT
            self._owner.flush()
