"""Every answer the gateway gives, one row each, and nothing else it could say.

No answer carries anything of the request: no path, no token, no body, no reason a guesser could
learn from. The rules behind the codes: whatever is authenticated, within limits and durable is 200
and exactly 200, because 360NRS takes any other code for a failure; our own trouble is 503, never a
4xx, because a 4xx may be the sender's last try (design §2, facts/reliability.md §4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

RETRY_AFTER_S: Final = 10  # long enough for a disk or broker to come back, far inside a provider's first retry
_RETRY: Final = (("Retry-After", str(RETRY_AFTER_S)),)
_NO_STORE: Final = (("Cache-Control", "no-store"),)  # the URL is a secret: no cache may remember it
_WAIT: Final = f"send the same request again after {RETRY_AFTER_S} s"
_MEND: Final = "mend the request; sending it again unchanged gives the same answer"

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One row: what is sent, whether the connection ends with it, what it means for the sender.

    `reason` is the word under which the answer is counted. `closes`: the connection always ends
    after this answer; others end only when the request asked for it, its body was not read to the
    end, or the gateway is stopping. `keep_bytes` and `close_bytes` are both forms, ready to be sent.
    """

    status: int
    phrase: str
    reason: str
    headers: tuple[tuple[str, str], ...]
    closes: bool
    sender: str
    when: str
    keep_bytes: bytes = field(init=False, repr=False)
    close_bytes: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kept = self._rendered(())
        closing = self._rendered((("Connection", "close"),))
        object.__setattr__(self, "keep_bytes", closing if self.closes else kept)
        object.__setattr__(self, "close_bytes", closing)

    def _rendered(self, more: tuple[tuple[str, str], ...]) -> bytes:
        fields = (("Content-Length", "0"), *self.headers, *more)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"HTTP/1.1 {self.status} {self.phrase}\r\n{lines}\r\n".encode("ascii")


def _unavailable(reason: str, when: str, *, closes: bool = False) -> Answer:
    return Answer(503, "Service Unavailable", reason, _RETRY, closes, _WAIT, when)


def _refused(
    status: int, phrase: str, reason: str, when: str, sender: str = _MEND, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    return Answer(status, phrase, reason, (*headers, *_NO_STORE), closes=True, sender=sender, when=when)


KEPT: Final = Answer(
    200, "OK", "kept", (), closes=False, sender="done", when="the bytes are durable, whatever they say"
)

NOT_KEPT: Final = _unavailable("not_kept", "the log could not make the request durable")
LATE: Final = _unavailable("late", "the log did not say in time whether the request is durable: it may be kept or not")
IN_FLIGHT_FULL: Final = _unavailable("in_flight_full", "too many bytes are accepted and not yet durable")
PARTIAL_FULL: Final = _unavailable("partial_full", "half-received requests together hold too much memory", closes=True)
CONNECTIONS_FULL: Final = _unavailable(
    "connections_full", "too many connections are open, in all or from this address", closes=True
)
STOPPING: Final = _unavailable("stopping", "the gateway stops and the request did not arrive in time", closes=True)

NOT_FOUND: Final = _refused(
    404,
    "Not Found",
    "not_found",
    "another path, or an unknown source, a wrong token, wrong credentials, a bad signature, an address not allowed:"
    " all alike, to the byte",
    sender="check the postback URL and the credentials",
)
WRONG_METHOD: Final = _refused(
    405, "Method Not Allowed", "wrong_method", "a method other than POST under /in/", headers=(("Allow", "POST"),)
)
BAD_FRAMING: Final = _refused(
    400, "Bad Request", "bad_framing", "not HTTP/1.0 or 1.1, or a request whose end cannot be told beyond doubt"
)
CUT_SHORT: Final = _refused(
    400,
    "Bad Request",
    "cut_short",
    "the sender stopped sending inside a request",
    sender="send the whole request again",
)
TOO_SLOW: Final = _refused(
    408, "Request Timeout", "too_slow", "head or body did not arrive in time", sender="send the whole request again"
)
BODY_TOO_LARGE: Final = _refused(413, "Content Too Large", "body_too_large", "the body is larger than the limit")
UNKNOWN_EXPECTATION: Final = _refused(
    417, "Expectation Failed", "unknown_expectation", "an Expect header that is not 100-continue"
)
HEAD_TOO_LARGE: Final = _refused(
    431, "Request Header Fields Too Large", "head_too_large", "request line or headers are longer than the limit"
)

ANSWERS: Final = (
    KEPT,
    BAD_FRAMING,
    CUT_SHORT,
    NOT_FOUND,
    WRONG_METHOD,
    TOO_SLOW,
    BODY_TOO_LARGE,
    UNKNOWN_EXPECTATION,
    HEAD_TOO_LARGE,
    NOT_KEPT,
    LATE,
    IN_FLIGHT_FULL,
    PARTIAL_FULL,
    CONNECTIONS_FULL,
    STOPPING,
)


class Refused(Exception):  # noqa: N818 — not an error of ours: the request gets `answer` and nothing is kept
    """Raised while a request is read, when it is clear that it will not be taken."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer
