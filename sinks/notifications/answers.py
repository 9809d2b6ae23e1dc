"""What an answer means for a message, and when it is tried again. Pure.

Tried again: no answer, 408, 425, 429 and every 5xx but 501 and 505. Everything else that is no 2xx is the target's
last word on this message: whoever reads the reason can mend it, another attempt cannot.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Final

from sinks.notifications.guarded_http import Answer
from sinks.notifications.records import Outcome
from sinks.notifications.words import masked

#: A target may ask for more patience than this, and does not get it.
MOST_RETRY_AFTER_S: Final = 3_600.0
FIRST_PAUSE_MS: Final = 5_000
MOST_PAUSE_MS: Final = 600_000
DEFAULT_HORIZON_MS: Final = 24 * 3_600_000

_AGAIN: Final = frozenset({408, 425, 429})
_LASTING_5XX: Final = frozenset({501, 505})
_MOST_LINE_CHARS: Final = 200


def outcome_of(answer: Answer, *, now_ms: int, also_again: AbstractSet[int] = frozenset()) -> Outcome:
    """`also_again` are the answers that this kind of target gives when it is only busy."""
    status = answer.status
    if not status:
        return Outcome("refused" if answer.guarded else "again", answer.trouble)
    line = f"{status} {first_line(answer.body)}".rstrip()
    if 200 <= status < 300:  # noqa: PLR2004  what HTTP calls success
        return Outcome("delivered", line)
    busy = status in _AGAIN or status in also_again or (status >= 500 and status not in _LASTING_5XX)  # noqa: PLR2004  and server errors
    if busy:
        return Outcome("again", line, retry_after_s(answer.headers.get("Retry-After", ""), now_ms))
    if 300 <= status < 400:  # noqa: PLR2004  and redirection
        return Outcome("refused", f"{status}: a redirect that cannot be followed; set url to where it is now")
    return Outcome("refused", line)


def first_line(body: bytes) -> str:
    """What an answer begins with, fit for a terminal and a table."""
    line = next((line for line in body.decode("utf-8", "replace").splitlines() if line.strip()), "")
    line = masked(line)
    return line if len(line) <= _MOST_LINE_CHARS else line[: _MOST_LINE_CHARS - 1] + "…"


def retry_after_s(text: str, now_ms: int) -> float | None:
    """Seconds, from a number or a date, bounded; `None` for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MOST_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_S)


def next_ms(message_id: str, *, attempts: int, now_ms: int, after_s: float | None) -> int:
    """When to try again after `attempts`: twice as late each time, up to ten minutes, up to a quarter less or more.

    The jitter is made of the message's id, so that many that failed together do not come back together, and the
    same message is tried at the same times wherever this is computed.
    """
    pause_ms = min(FIRST_PAUSE_MS << min(attempts - 1, 16), MOST_PAUSE_MS)
    digest = blake2b(f"{message_id} {attempts}".encode(), digest_size=2).digest()
    jittered = pause_ms * (75 + int.from_bytes(digest) % 51) // 100
    return now_ms + max(jittered, int(1000 * (after_s or 0)))
