"""A made-up incident, to see whether a target can be told at all. Pure; every text of it says that nothing is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from schemas.incidents import Incident
from schemas.times import iso_ms
from sinks.notifications.planning import Shape
from sinks.notifications.records import Line, Message, Notice, Word

_RULE: Final = "sendtrace_test"


def sample_messages(target: str, shape: Shape, now_ms: int) -> Iterator[tuple[Word, Message]]:
    """What is sent for a test, in order; where an alarm is raised, its end follows."""
    words: tuple[Word, ...] = ("opened", "resolved") if shape.one_by_one or shape.repeats_firing else ("opened",)
    for number, word in enumerate(words):
        incident = _incident(target, now_ms, is_over=word == "resolved")
        line = Line(word=word, change_id=f"test-{now_ms}-{number}", incident=incident)
        notice = Notice(lines=[line], more={}, firing=[], digest=None, sample=True)
        yield word, Message(f"msg_test_{now_ms}_{number}", target, notice, now_ms, 0, now_ms)


def _incident(target: str, now_ms: int, *, is_over: bool) -> Incident:
    now, before = iso_ms(now_ms), iso_ms(now_ms - 60_000)
    return {
        "incident_id": f"test-{target}-{now_ms}",
        "rule": _RULE,
        "kind": "count",
        "severity": "warning",
        "state": "resolved" if is_over else "open",
        "source": "test",
        "provider": None,
        "campaign_id": "test-campaign",
        "class": "unclassified",
        "domain": None,
        "count": 1,
        "total": None,
        "first_seen": before,
        "last_seen": now,
        "opened_at": before,
        "resolved_at": now if is_over else None,
        "title": "Test message of sendtrace, nothing is wrong",
        "advice": f"Nothing. Somebody ran `sendtrace alerts test {target}`.",
        "samples": [
            {
                "message_id": None,
                "receipt_id": "test",
                "received_at": now,
                "status": "bounced",
                "reason": "550 5.1.1 These would be the words of the provider",
            }
        ],
        "silenced_until": None,
        "acknowledged_at": None,
    }
