"""What the process of notifications says of itself; apart, so that who reads it needs nothing of who writes it."""

from __future__ import annotations

from typing_extensions import TypedDict


class NotifyReport(TypedDict):
    """Numbers by target: messages delivered and parked, attempts that failed, changes not told yet.

    `trouble` is what keeps it from work, in one line.
    """

    delivered: dict[str, int]
    failed: dict[str, int]
    parked: dict[str, int]
    waiting: dict[str, int]
    trouble: str | None


NOTHING_YET: NotifyReport = {
    "delivered": {},
    "failed": {},
    "parked": {},
    "waiting": {},
    "trouble": "it has said nothing yet",
}
