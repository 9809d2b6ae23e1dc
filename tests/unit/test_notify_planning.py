"""What a message says, and what of the waiting changes is not told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from schemas.incidents import IncidentChange
from schemas.times import iso_ms
from sinks.notifications.planning import HOLD_MS, STALE_MS, Plan, Shape, plan
from sinks.notifications.records import Pending, People, Silenced
from sinks.notifications.routing import Labels, is_for
from sinks.notifications.targets import alertmanager, apprise_service, pagerduty, webhook
from tests.unit.notify_rig import NOW_MS, change, incident, pending, people

OPENED, ESCALATED = change("opened"), change("escalated")
RESOLVED, REOPENED = change("resolved"), change("reopened")
NOBODY = People({}, ())


def planned(
    waiting: list[Pending],
    shape: Shape = webhook.SHAPE,
    *,
    told: Mapping[str, bool] | None = None,
    people: People = NOBODY,
    slots: int = 5,
) -> Plan:
    return plan(shape, waiting, told=told or {}, people=people, now_ms=NOW_MS, slots=slots)


def words(made: Plan) -> list[str]:
    return [line["word"] for line in made.notice["lines"]] if made.notice else []


@pytest.mark.parametrize(
    ("changes", "told", "word"),
    [
        ([OPENED], False, "opened"),
        ([OPENED, ESCALATED], False, "opened"),
        ([ESCALATED], True, "escalated"),
        ([ESCALATED], False, "escalated"),  # it is only bad enough for this target now
        ([RESOLVED], True, "resolved"),
        ([RESOLVED, REOPENED], True, "reopened"),
        ([REOPENED], False, "reopened"),
        ([OPENED, RESOLVED], False, "passed"),
        ([OPENED, RESOLVED, REOPENED, change("resolved", number=1)], False, "passed"),
        ([OPENED, RESOLVED, REOPENED], False, "reopened"),
    ],
)
def test_all_changes_of_an_incident_are_one_line(changes: list[IncidentChange], *, told: bool, word: str) -> None:
    made = planned(pending(*changes), told={"i1": False} if told else {})

    assert words(made) == [word]
    assert list(made.changes) == [each["change_id"] for each in changes]


def test_an_end_is_not_told_where_the_opening_was_not() -> None:
    assert planned(pending(RESOLVED)) == Plan(dropped={"i1-resolved-0": "its opening was not told here"})


@pytest.mark.parametrize("shape", [alertmanager.SHAPE, pagerduty.SHAPE])
def test_what_is_over_raises_no_alarm(shape: Shape) -> None:
    made = planned(pending(OPENED, RESOLVED), shape)

    assert made.notice is None
    assert set(made.dropped.values()) == {"over before it was told"}


def test_who_has_taken_it_on_hears_no_more_of_its_growth_but_of_its_end() -> None:
    taken_on = people(incident(acknowledged_at=iso_ms(NOW_MS)))
    over = people(incident(acknowledged_at=iso_ms(NOW_MS), state="resolved"))

    assert planned(pending(ESCALATED), told={"i1": False}, people=taken_on).dropped == {
        "i1-escalated-0": "acknowledged"
    }
    assert words(planned(pending(RESOLVED), told={"i1": False}, people=over)) == ["resolved"]


def test_taking_on_the_last_spell_is_not_taking_on_this_one() -> None:
    before = people(incident(acknowledged_at=iso_ms(NOW_MS - 3_600_000)))

    assert words(planned(pending(ESCALATED), told={"i1": False}, people=before)) == ["escalated"]


@pytest.mark.parametrize(
    ("own", "label"),
    [
        (NOW_MS + 3_600_000, ()),
        (None, ("campaign_id", "c1")),
        (None, ("severity", "error")),
        (None, ("class", "block_list")),
    ],
)
def test_a_silence_holds_back(own: int | None, label: tuple[str, ...]) -> None:
    silences = (Silenced(label[0], label[1], NOW_MS + 3_600_000),) if label else ()
    quiet = people(incident(silenced_until=None if own is None else iso_ms(own)), silences=silences)

    assert planned(pending(OPENED), people=quiet) == Plan(held={"i1-opened-0": NOW_MS + HOLD_MS})


def test_a_silence_of_another_label_holds_nothing_back() -> None:
    quiet = people(incident(), silences=(Silenced("campaign_id", "c2", NOW_MS + 1), Silenced("new", "x", NOW_MS + 1)))

    assert words(planned(pending(OPENED), people=quiet)) == ["opened"]


def test_after_a_silence_what_is_open_is_told_and_what_is_over_is_not() -> None:
    assert words(planned(pending(OPENED, held=True))) == ["opened"]
    assert set(planned(pending(OPENED, RESOLVED, held=True)).dropped.values()) == {"silenced"}


def test_news_of_the_day_before_yesterday_are_none() -> None:
    at_ms = NOW_MS - STALE_MS - 1
    opened = change("opened", at_ms=at_ms, last_seen=iso_ms(at_ms))
    resolved = change("resolved", at_ms=at_ms, last_seen=iso_ms(at_ms))

    assert planned(pending(opened)).dropped == {"i1-opened-0": "older than a day"}
    assert words(planned(pending(resolved), told={"i1": False})) == ["resolved"]


def test_numbers_are_those_of_now() -> None:
    made = planned(pending(OPENED), people=people(incident(count=999_999)))

    assert made.notice is not None
    assert made.notice["lines"][0]["incident"]["count"] == 999_999


def test_the_worst_comes_first_and_what_has_no_room_is_counted() -> None:
    many = [change("opened", f"i{number:02}", severity="warning") for number in range(46)]
    made = planned(pending(*many, change("opened", "bad", severity="critical"), RESOLVED), told={"i1": False})

    assert made.notice is not None
    assert made.notice["lines"][0]["incident"]["incident_id"] == "bad"
    assert (len(made.notice["lines"]), made.notice["more"]) == (10, {"opened": 37, "resolved": 1})
    assert len(made.changes) == 48


def test_every_message_to_alertmanager_has_what_fires() -> None:
    known = people(incident("i2"), incident("i3", state="resolved"))
    made = planned(pending(OPENED), alertmanager.SHAPE, told={"i2": False, "i3": False}, people=known)

    assert made.notice is not None
    assert [each["incident_id"] for each in made.notice["firing"]] == ["i2"]
    assert planned([], alertmanager.SHAPE, told={"i2": False}, people=known).changes == []
    assert planned([], alertmanager.SHAPE, told={"i3": False}, people=known) == Plan()


def test_pagerduty_gets_one_at_a_time() -> None:
    made = planned(pending(OPENED, change("opened", "i2", severity="critical")), pagerduty.SHAPE)

    assert made.changes == ("i2-opened-0",)


def test_the_last_event_that_may_leave_stands_for_the_rest() -> None:
    made = planned(pending(OPENED, change("opened", "i2"), change("resolved", "i3")), pagerduty.SHAPE, slots=1)

    assert made.notice is not None
    assert made.notice["digest"] == "trigger"
    assert made.changes == ["i1-opened-0", "i2-opened-0"]


def test_the_end_of_all_that_were_counted_is_one_event() -> None:
    ends = pending(RESOLVED, change("resolved", "i2"))
    some = planned(ends[:1], pagerduty.SHAPE, told={"i1": True, "i2": True})
    rest = planned(ends[1:], pagerduty.SHAPE, told={"i2": True})

    assert (some.notice, some.forget, list(some.dropped)) == (None, ["i1"], ["i1-resolved-0"])
    assert rest.notice is not None
    assert rest.notice["digest"] == "resolve"


@pytest.mark.parametrize(
    ("labels", "holds"),
    [
        (Labels(), True),
        (Labels("error"), True),
        (Labels("critical"), False),
        (Labels(sources=("braze", "x"), campaigns=("c1",), classes=("block_list",)), True),
        (Labels(sources=("braze",), campaigns=("c2",)), False),
        (Labels(classes=("unclassified",)), False),
        (Labels(sources=("nrs360",)), False),
    ],
)
def test_all_labels_of_a_target_have_to_hold(labels: Labels, *, holds: bool) -> None:
    assert is_for(labels, OPENED) is holds
    assert is_for(labels, RESOLVED)  # who was told of it before decides
    assert not is_for(labels, change("updated"))


def test_the_shapes_are_bounded() -> None:
    shapes = (webhook.SHAPE, apprise_service.SHAPE, pagerduty.SHAPE, alertmanager.SHAPE)

    assert [shape.most_lines for shape in shapes] == [10, 5, 1, 500]


def test_a_notice_is_kept_without_addresses() -> None:
    known = people(incident("i2"))
    made = planned(pending(OPENED), alertmanager.SHAPE, told={"i2": False}, people=known)

    assert made.notice is not None
    assert made.notice["firing"]
    assert "jane" not in str(made.notice)
    assert "[address]" in str(made.notice)
