"""What the next message of a target says, and what of the waiting changes is not told. Pure.

All changes of one incident that wait together become one line, or none:

- Silenced: held back until the silence ends. What is over by then is dropped, what is still open is told then.
- Acknowledged (after the present trouble began): somebody has taken it on, so that it grows is not told any more.
  That it is over still is.
- Over before anybody could be told: one line where targets are people or programs that read; nothing where it would
  be an alarm. Over, and the opening was never told there: nothing.
- News older than a day, as after tables were made anew from the log: nothing.

A notice has nobody's address in it: it is kept as it leaves, with what providers said masked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from schemas.incidents import Incident, IncidentChange
from schemas.times import epoch_ms
from sinks.notifications.records import Line, Notice, Pending, People, Word, rank
from sinks.notifications.routing import silenced_until_ms
from sinks.notifications.words import masked_incident

STALE_MS: Final = 24 * 3_600_000
#: What is held back is looked at again so often: a silence may be lifted.
HOLD_MS: Final = 60_000
_OPEN: Final = frozenset({"opened", "escalated", "reopened"})
_ORDER: Final[tuple[Word, ...]] = ("opened", "reopened", "escalated", "resolved", "passed")
_DIGEST_LINES: Final = 10


class Shape(NamedTuple):
    """What messages of a kind of target look like. `counts_rest`: what does not fit is counted, not told later."""

    most_lines: int
    counts_rest: bool = False
    tells_passed: bool = False
    repeats_firing: bool = False

    @property
    def one_by_one(self) -> bool:
        """Whether each message is about one incident."""
        return self.most_lines == 1


class Plan(NamedTuple):
    """What is to be done, in one transaction.

    `changes` are those the notice tells or counts; `dropped` has a reason for each; `held` the time until which;
    `forget` the incidents the target need not be told the end of any more.
    """

    notice: Notice | None = None
    changes: Sequence[str] = ()
    dropped: Mapping[str, str] = {}
    held: Mapping[str, int] = {}
    forget: Sequence[str] = ()


class _Line(NamedTuple):
    """A line before it is in a message, with the changes it stands for."""

    line: Line
    seq: int
    changes: tuple[str, ...]


class _Fate(NamedTuple):
    """What becomes of an incident's changes: a line, a wait, or nothing for a reason."""

    line: _Line | None = None
    held_until_ms: int = 0
    dropped: str = ""


def plan(
    shape: Shape, pending: Iterable[Pending], *, told: Mapping[str, bool], people: People, now_ms: int, slots: int
) -> Plan:
    """The next message of one target.

    `told`: the incidents it knows to be open, `True` for one that was only counted. `people` speaks of these and of
    those in `pending`. `slots`: how many messages may still leave.
    """
    lines: list[_Line] = []
    dropped: dict[str, str] = {}
    held: dict[str, int] = {}
    by_incident = sorted(pending, key=lambda each: (each.change["incident"]["incident_id"], each.seq))
    for incident_id, group in groupby(by_incident, key=lambda each: each.change["incident"]["incident_id"]):
        changes = list(group)
        fate = _fate(shape, changes, incident_id in told, people, now_ms)
        ids = [each.change["change_id"] for each in changes]
        if fate.line is not None:
            lines.append(fate.line)
        elif fate.held_until_ms:
            held |= dict.fromkeys(ids, fate.held_until_ms)
        else:
            dropped |= dict.fromkeys(ids, fate.dropped)
    lines.sort(key=_worst_first)
    made = _one(lines, told, slots) if shape.one_by_one else _many(shape, lines, told, people)
    return made._replace(dropped={**dropped, **made.dropped}, held=held)


def _fate(shape: Shape, pending: Sequence[Pending], told: bool, people: People, now_ms: int) -> _Fate:  # noqa: FBT001  a fact beside the others
    last = pending[-1].change
    incident = _latest(last, people)
    until_ms = silenced_until_ms(incident, _ms(incident["silenced_until"]), people.silences)
    if until_ms > now_ms:
        return _Fate(held_until_ms=min(until_ms, now_ms + HOLD_MS))
    word = _word({each.change["change"] for each in pending}, last, told=told)
    if word is None:
        return _Fate(dropped="its opening was not told here")
    news_ms = max(_ms(last["at"]), _ms(incident["last_seen"]))
    if now_ms - news_ms > STALE_MS and not told:
        return _Fate(dropped="older than a day")
    why_not = _why_not(shape, word, incident, held=any(each.held for each in pending))
    line = _Line(
        Line(word=word, change_id=last["change_id"], incident=masked_incident(incident)),
        pending[0].seq,
        tuple(each.change["change_id"] for each in pending),
    )
    return _Fate(dropped=why_not) if why_not else _Fate(line)


def _why_not(shape: Shape, word: Word, incident: Incident, *, held: bool) -> str:
    """Empty where it is to be told."""
    if word == "passed" and held:
        return "silenced"
    if word == "passed" and not shape.tells_passed:
        return "over before it was told"
    if word == "escalated" and _ms(incident["acknowledged_at"]) >= _ms(incident["opened_at"]):
        return "acknowledged"
    return ""


def _latest(last: IncidentChange, people: People) -> Incident:
    """The incident as it is now, if that is in the state which the change tells of; people's marks in any case."""
    then = last["incident"]
    now = people.incidents.get(then["incident_id"])
    if now is None or now["state"] == then["state"]:
        return now or then
    return Incident({**then, "acknowledged_at": now["acknowledged_at"], "silenced_until": now["silenced_until"]})


def _word(changes: set[str], last: IncidentChange, *, told: bool) -> Word | None:
    if last["change"] == "resolved":
        if told:
            return "resolved"
        return "passed" if changes & _OPEN else None
    if "reopened" in changes:
        return "reopened"
    return "escalated" if told or "opened" not in changes else "opened"


def _ms(iso: str | None) -> int:
    return -1 if iso is None else epoch_ms(iso)


def _worst_first(each: _Line) -> tuple[int, int, int]:
    word = each.line["word"]
    is_open = word in _OPEN
    return (-1 - rank(each.line["incident"]["severity"]) if is_open else _ORDER.index(word), each.seq, 0)


def _many(shape: Shape, lines: Sequence[_Line], told: Mapping[str, bool], people: People) -> Plan:
    """One message for all."""
    shown = lines[: shape.most_lines]
    rest = lines[shape.most_lines :] if shape.counts_rest else []
    firing = _firing(shown, told, people, most=shape.most_lines) if shape.repeats_firing else []
    if not shown and not firing:
        return Plan()
    notice = _notice(shown, rest, firing=firing)
    return Plan(notice, [change for each in (*shown, *rest) for change in each.changes])


def _firing(shown: Sequence[_Line], told: Mapping[str, bool], people: People, *, most: int) -> list[Incident]:
    in_lines = {each.line["incident"]["incident_id"] for each in shown}
    known = (people.incidents.get(incident_id) for incident_id in told if incident_id not in in_lines)
    open_ones = [incident for incident in known if incident is not None and incident["state"] == "open"]
    worst_first = sorted(open_ones, key=lambda incident: (-rank(incident["severity"]), incident["incident_id"]))
    return [masked_incident(incident) for incident in worst_first[:most]]


def _one(lines: Sequence[_Line], told: Mapping[str, bool], slots: int) -> Plan:
    """One incident; in the last message there may be, an entry that stands for all that are left.

    That these are over is told once, when all of them are.
    """
    ends = [
        each for each in lines if each.line["word"] == "resolved" and told.get(each.line["incident"]["incident_id"])
    ]
    own = [each for each in lines if each not in ends]
    begins = [each for each in own if each.line["word"] in _OPEN]
    if len(begins) > 1 and slots <= 1:
        notice = _notice(begins[:_DIGEST_LINES], begins[_DIGEST_LINES:])
        return Plan(Notice({**notice, "digest": "trigger"}), [change for each in begins for change in each.changes])
    if own:
        return Plan(_notice(own[:1], []), own[0].changes)
    if not ends:
        return Plan()
    over = {each.line["incident"]["incident_id"] for each in ends}
    changes = [change for each in ends for change in each.changes]
    if any(counted and incident_id not in over for incident_id, counted in told.items()):
        return Plan(dropped=dict.fromkeys(changes, "one of many that were counted"), forget=sorted(over))
    return Plan(Notice({**_notice([], ends), "digest": "resolve"}), changes)


def _notice(shown: Sequence[_Line], rest: Sequence[_Line], *, firing: Sequence[Incident] = ()) -> Notice:
    counts = Counter(each.line["word"] for each in rest)
    return {
        "lines": [each.line for each in shown],
        "more": {word: counts[word] for word in _ORDER if counts[word]},
        "firing": list(firing),
        "digest": None,
        "sample": False,
    }
