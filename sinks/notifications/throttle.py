"""When the next message may leave for a target. Pure.

Changes wait a few seconds for others of their kind, so that one message tells them all. In any 30 minutes a target
gets at most 10 messages; the last three of them are kept for what is critical, so that a flood of warnings does not
hold up the one thing that matters. The more there were, the longer the next one gathers, yet never so long that the
first word of a new trouble would take half a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.incidents import Severity
from sinks.notifications.records import Waiting

WINDOW_MS: Final = 30 * 60_000
MOST_MESSAGES: Final = 10
MOST_ORDINARY: Final = 7
#: A change waits so long for others; once there were some messages in the window, longer.
GROUP_WAIT_MS: Final = 3_000
LONG_GROUP_WAIT_MS: Final = 25_000
_FEW: Final = 3
#: Targets that forget are told again of what still fires, when they have heard nothing for so long.
REFRESH_MS: Final = 15 * 60_000


def slots(tried_ms: Sequence[int], worst: Severity | None, now_ms: int) -> int:
    """How many messages may still leave in this window. `tried_ms`: when earlier ones were last tried."""
    most = MOST_MESSAGES if worst == "critical" else MOST_ORDINARY
    return max(0, most - _used(tried_ms, now_ms))


def may_leave(waiting: Waiting, tried_ms: Sequence[int], now_ms: int) -> bool:
    """Whether what waits may be made a message now."""
    if not waiting.changes or not slots(tried_ms, waiting.worst, now_ms):
        return False
    wait_ms = GROUP_WAIT_MS if _used(tried_ms, now_ms) < _FEW else LONG_GROUP_WAIT_MS
    # A clock that was set back must not hold a message for hours.
    return not 0 <= now_ms - waiting.oldest_ms < wait_ms


def refresh_due(tried_ms: Sequence[int], now_ms: int) -> bool:
    """Whether a target that forgets has to be told again of what it knows."""
    silent = not any(abs(now_ms - tried) < REFRESH_MS for tried in tried_ms)
    return silent and bool(slots(tried_ms, None, now_ms))


def _used(tried_ms: Sequence[int], now_ms: int) -> int:
    # To both sides: a clock that was set back counts what it finds ahead, and not for ever.
    return sum(abs(now_ms - tried) < WINDOW_MS for tried in tried_ms)
