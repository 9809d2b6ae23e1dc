"""Whatever happens: a target is never told too often, of new trouble soon, and no change is lost or told twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.incidents import SEVERITIES, Incident, IncidentChange, IncidentChangeWord, Severity
from schemas.times import iso_ms
from sinks.notifications.planning import Shape, plan
from sinks.notifications.records import Notice, Pending, People, Waiting, rank
from sinks.notifications.targets import alertmanager, apprise_service, pagerduty, webhook
from sinks.notifications.throttle import MOST_MESSAGES, WINDOW_MS, may_leave, refresh_due, slots
from tests.unit.notify_rig import NOW_MS, incident

SHAPES = {
    "webhook": webhook.SHAPE,
    "apprise": apprise_service.SHAPE,
    "pagerduty": pagerduty.SHAPE,
    "am": alertmanager.SHAPE,
}
SOON_MS = 30_000
#: Seconds after the one before, which incident, how severe, whether it grows or ends.
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 2_000)),
        st.integers(0, 40),
        st.sampled_from(SEVERITIES),
        st.booleans(),
    ),
    max_size=120,
)


@dataclass
class Target:
    """One target, told second by second."""

    shape: Shape
    waiting: list[Pending] = field(default_factory=list)
    told: dict[str, bool] = field(default_factory=dict)
    sent: list[tuple[int, Notice]] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)
    incidents: dict[str, Incident] = field(default_factory=dict)

    def at(self, now_ms: int) -> None:
        """What the engine does in this second: until nothing may leave."""
        for _ in range(MOST_MESSAGES + 1):
            tried = [sent_ms for sent_ms, _ in self.sent]
            open_ones = [
                each.change["incident"]["severity"] for each in self.waiting if each.change["change"] != "resolved"
            ]
            open_ones.sort(key=rank)
            worst = open_ones[-1] if open_ones else None
            oldest_ms = min((each.taken_ms for each in self.waiting), default=0)
            refresh = self.shape.repeats_firing and refresh_due(tried, now_ms)
            if not may_leave(Waiting(len(self.waiting), oldest_ms, worst), tried, now_ms) and not refresh:
                return
            self._tell(now_ms, slots(tried, worst, now_ms))

    def _tell(self, now_ms: int, left: int) -> None:
        people = People(self.incidents, ())
        made = plan(self.shape, self.waiting, told=self.told, people=people, now_ms=now_ms, slots=left)
        self.fates.update([*made.changes, *made.dropped])
        gone = {*made.changes, *made.dropped}
        mine = [each.change for each in self.waiting if each.change["change_id"] in set(made.changes)]
        self.waiting = [each for each in self.waiting if each.change["change_id"] not in gone]
        for incident_id in made.forget:
            self.told.pop(incident_id)
        if made.notice is None:
            return
        self.sent.append((now_ms, made.notice))
        alone = set() if made.notice["digest"] else {line["incident"]["incident_id"] for line in made.notice["lines"]}
        for incident_id, last in {each["incident"]["incident_id"]: each["change"] for each in mine}.items():
            self.told.pop(incident_id, None)
            if last != "resolved":
                self.told[incident_id] = incident_id not in alone


def changes_of(events: list[tuple[int, int, Severity, bool]]) -> list[tuple[int, IncidentChange]]:
    """Each with the second it was made in; what an incident can do is up to the state it is in."""
    made: list[tuple[int, IncidentChange]] = []
    state: dict[int, str] = {}
    second = 0
    for number, (gap_s, which, severity, grows) in enumerate(events):
        second += gap_s
        before = state.get(which, "new")
        word: IncidentChangeWord = "opened"
        if before == "open":
            word = "escalated" if grows else "resolved"
        elif before == "resolved":
            word = "reopened"
        state[which] = "resolved" if word == "resolved" else "open"
        at = iso_ms(NOW_MS + 1000 * second)
        body = incident(f"i{which}", severity=severity, last_seen=at, state=state[which])
        made.append((second, {"change_id": str(number), "change": word, "at": at, "incident": body}))
    return made


def run(shape: Shape, made: list[tuple[int, IncidentChange]], *, after_s: int) -> Target:
    """From the first change to some time after the last."""
    target = Target(shape)
    last_s = made[-1][0] if made else 0
    by_second: dict[int, list[IncidentChange]] = {}
    for second, change in made:
        by_second.setdefault(second, []).append(change)
    number = 0
    quiet = range(last_s + 27, last_s + after_s, 301)
    busy = {second + more for second in by_second for more in (0, 1, 3, 4, 25, 26, 300, 1799, 1800, 1801)}
    for second in sorted({*by_second, *busy, *quiet}):
        now_ms = NOW_MS + 1000 * second
        for change in by_second.get(second, []):
            number += 1
            target.incidents[change["incident"]["incident_id"]] = change["incident"]
            target.waiting.append(Pending(number, now_ms, held=False, change=change))
        target.at(now_ms)
    return target


@pytest.mark.parametrize("kind", SHAPES)
@given(events=EVENTS)
def test_whatever_happens_nobody_is_flooded_and_nothing_is_lost(
    kind: str, events: list[tuple[int, int, Severity, bool]]
) -> None:
    shape, made = SHAPES[kind], changes_of(events)
    target = run(shape, made, after_s=40_000)

    times = [sent_ms for sent_ms, _ in target.sent]
    assert all(later - first >= WINDOW_MS for first, later in zip(times, times[10:], strict=False))
    # Each change told, counted or dropped, and once; what the target knows in the end is what is open.
    assert target.waiting == []
    assert target.fates == Counter(change["change_id"] for _, change in made)
    assert set(target.told) == {name for name, each in target.incidents.items() if each["state"] == "open"}
    assert all(len(notice["lines"]) <= max(shape.most_lines, 10) for _, notice in target.sent)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_flood_of_what_is_critical_fills_ten_messages_and_no_more(kind: str) -> None:
    made = changes_of([(9, number % 300, "critical", number % 7 > 0) for number in range(800)])
    times = [sent_ms for sent_ms, _ in run(SHAPES[kind], made, after_s=40_000).sent]

    in_windows = [sum(first <= each < first + WINDOW_MS for each in times) for first in times]
    assert max(in_windows) == 10


@pytest.mark.parametrize("kind", SHAPES)
def test_the_first_word_of_a_trouble_leaves_within_half_a_minute(kind: str) -> None:
    for quiet_s in (31, 100, 1_000):
        target = run(SHAPES[kind], changes_of([(quiet_s, number, "error", True) for number in range(3)]), after_s=60)

        assert target.sent[0][0] - NOW_MS - 1000 * quiet_s <= SOON_MS


def test_a_flood_of_warnings_leaves_room_for_what_is_critical() -> None:
    warnings = [(1, number, SEVERITIES[1], True) for number in range(600)]
    made = changes_of(warnings)
    bad = incident("bad", severity="critical", last_seen=iso_ms(NOW_MS + 601_000))
    made.append((601, {"change_id": "bad", "change": "opened", "at": iso_ms(NOW_MS + 601_000), "incident": bad}))
    target = run(webhook.SHAPE, made, after_s=100)

    at_ms, notice = target.sent[-1]
    assert at_ms - NOW_MS - 601_000 <= SOON_MS
    assert notice["lines"][0]["incident"]["incident_id"] == "bad"
    assert sum(notice["more"].values()) > 400
