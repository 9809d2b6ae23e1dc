"""Order and batching change no incident: `processors.incidents.step` says what is promised of each kind of rule."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.incidents.rules import DEFAULT_RULES, LATENESS_MS, IncidentRule
from schemas.incidents import Incident
from schemas.records import Transition
from schemas.tallies import Tally
from tests.unit.incident_rig import HOUR, MINUTE, NOON_MS, SECOND, Watch, failure, tally, told

FIVE_IN_TEN = IncidentRule(
    "five_in_ten", "count", ("bounced",), group_by=("campaign_id",), at_least=5, window_s=600, quiet_s=1200
)
ANY_ABORT = IncidentRule("any_abort", "count", ("aborted",), quiet_s=600, window_s=60)
COMPLAINTS = IncidentRule("complaints", "count", ("complained",), at_least=3, window_s=600, quiet_s=1200)
COUNTS = (FIVE_IN_TEN, ANY_ABORT, COMPLAINTS)
RATES = (
    IncidentRule(
        "bounces", "rate", ("bounced",), "finals", ("campaign_id",), 10, 2, 100_000, window_s=1800, quiet_s=600
    ),
    IncidentRule("dead", "rate", ("dead_letters",), "postbacks", at_least=5, above_ppm=200_000, quiet_s=1800),
    IncidentRule("silent", "silence", at_least=5, window_s=600),
)
DAY_MS = 24 * HOUR


class Record(NamedTuple):
    """A failure or a tally, and when it came."""

    at_ms: int
    failure: Transition | None
    tally: Tally | None


def handed(watch: Watch, records: list[Record]) -> None:
    watch.take([r.failure for r in records if r.failure], [r.tally for r in records if r.tally])


def run(rules: tuple[IncidentRule, ...], records: list[Record], cuts: list[int]) -> Watch:
    """All records in batches that end at `cuts`, then a day of nothing."""
    watch = Watch(rules)
    for start, stop in pairwise(sorted({0, len(records), *(cut % len(records) for cut in cuts)})):
        handed(watch, records[start:stop])
    ended_ms = watch.watermark_ms
    for hours in range(1, 12):
        watch.at(ended_ms + hours * HOUR)
    return watch


def said(watch: Watch) -> list[tuple[str, str]]:
    """The changes, `updated` left out, in no order."""
    return sorted((c["change_id"], c["change"]) for c in watch.changes.values() if c["change"] != "updated")


def rows(watch: Watch) -> dict[str, Incident]:
    return watch.rows


#: Bursts with pauses: seconds after noon at which something happens, up to some hours.
bursts = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.lists(st.integers(0, 900), min_size=1, max_size=12) | st.lists(st.integers(0, 60), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=4,
).map(lambda found: [offset * 1000 + second for offset, seconds in found for second in seconds])


@st.composite
def counted(draw: st.DrawFn) -> list[Record]:
    records = []
    for number, second in enumerate(draw(bursts)):
        at_ms = NOON_MS + second * SECOND + number
        status = draw(st.sampled_from(["bounced", "bounced", "aborted", "complained"]))
        campaign_id = draw(st.sampled_from(["a", "b"]))
        if status == "complained":
            counts = {"complained": draw(st.integers(1, 3))}
            sample = told("complained", at_ms, "complaint")
            records.append(Record(at_ms, None, tally(at_ms, counts, campaign_id=campaign_id, samples=[sample])))
        else:
            one = failure(at_ms, number=number, status=status, bounce_class=None, campaign_id=campaign_id)
            records.append(Record(at_ms, one, None))
    return records


@st.composite
def rated(draw: st.DrawFn) -> list[Record]:
    records = []
    for number, second in enumerate(draw(bursts)):
        at_ms = NOON_MS + second * SECOND + number
        counts = {"delivered": draw(st.integers(0, 12)), "bounced": draw(st.integers(0, 3))}
        dead = {"invalid_json": draw(st.integers(0, 2))}
        campaign_id = draw(st.sampled_from(["a", "b"]))
        records.append(Record(at_ms, None, tally(at_ms, counts, campaign_id=campaign_id, dead=dead)))
        records += [
            Record(at_ms, failure(at_ms, number=n, bounce_class=None, campaign_id=campaign_id), None)
            for n in range(counts["bounced"])
        ]
    return records


def ordered(records: list[Record]) -> list[Record]:
    """By time."""
    return sorted(records, key=lambda record: record.at_ms)


cuts = st.lists(st.integers(0, 1000), max_size=12)


def nearly_in_order(records: list[Record], chances: list[int]) -> list[Record]:
    """As if each came up to the allowed lateness after its time."""
    lateness = {id(record): chances[place % len(chances)] for place, record in enumerate(records)}
    return sorted(records, key=lambda record: record.at_ms + lateness[id(record)])


lateness = st.lists(st.integers(0, LATENESS_MS), min_size=1, max_size=20)


@settings(max_examples=80)
@given(counted(), st.randoms(use_true_random=False), cuts, cuts)
def test_any_order_and_batching_gives_the_same_incidents_of_counts(
    records: list[Record], chance: object, some_cuts: list[int], other_cuts: list[int]
) -> None:
    shuffled = list(records)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random, which hypothesis does not say

    assert rows(run(COUNTS, shuffled, some_cuts)) == rows(run(COUNTS, ordered(records), other_cuts))


@settings(max_examples=80)
@given(counted(), lateness, cuts, cuts)
def test_late_records_change_nothing_that_is_told_of_counts(
    records: list[Record], late: list[int], some_cuts: list[int], other_cuts: list[int]
) -> None:
    one, other = run(COUNTS, nearly_in_order(records, late), some_cuts), run(COUNTS, ordered(records), other_cuts)

    assert rows(one) == rows(other)
    assert said(one) == said(other)


@settings(max_examples=80)
@given(rated(), lateness, cuts, cuts)
def test_late_records_and_batching_change_nothing_of_rates_and_silences(
    records: list[Record], late: list[int], some_cuts: list[int], other_cuts: list[int]
) -> None:
    one, other = run(RATES, nearly_in_order(records, late), some_cuts), run(RATES, ordered(records), other_cuts)

    assert rows(one) == rows(other)
    assert said(one) == said(other)


@settings(max_examples=40)
@given(counted(), rated(), cuts)
def test_a_replay_makes_the_same_ids(some: list[Record], others: list[Record], where: list[int]) -> None:
    records = ordered(some + others)
    first = run((*DEFAULT_RULES, *COUNTS), records, where)
    again = run((*DEFAULT_RULES, *COUNTS), records, where)

    assert first.changes == again.changes
    assert first.rows == again.rows


@settings(max_examples=40)
@given(counted(), cuts)
def test_counts_are_exact_and_everything_ends(records: list[Record], where: list[int]) -> None:
    rule = IncidentRule("all", "count", ("failures",), window_s=DAY_MS // SECOND)
    failures = [record.failure for record in records if record.failure]
    watch = run((rule,), records, where)
    watch.at(watch.watermark_ms + 3 * DAY_MS)

    assert sum(row["count"] for row in watch.rows.values()) == len(failures)
    assert {row["state"] for row in watch.rows.values()} <= {"resolved"}
    assert all(state.due_ms is None for state in watch.store.states.values())


def test_the_examples_do_open_incidents() -> None:
    """Else the properties would hold for nothing."""
    watch = Watch(RATES)
    for minute in range(30):
        at_ms = NOON_MS + minute * MINUTE
        watch.take([failure(at_ms)], [tally(at_ms, delivered=5, bounced=1, dead={"invalid_json": 3})])
    watch.at(NOON_MS + 40 * MINUTE)

    assert sorted(row["rule"] for row in watch.rows.values()) == ["bounces", "dead"]
