"""The order in which the incident step is given its records, whatever was fetched when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sinks.tables.incident_time import Lanes, Read, advanced

PLACES = [("failures", 0), ("failures", 1), ("tallies", 0)]
#: Per place the times of its records, in the order in which they were received, and how many each fetch brings.
STREAMS = st.lists(st.lists(st.integers(0, 50), max_size=20).map(sorted), min_size=3, max_size=3)
FETCHES = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=30)


def handed_over(streams: list[list[int]], fetches: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(step, time, place) of every record, when fetches come so, and then the rest of every place."""
    lanes: Lanes[None] = Lanes()
    read = [0, 0, 0]
    found = []
    rest = [(number, len(stream)) for number, stream in enumerate(streams)]
    for step, (number, count) in enumerate([*fetches, *rest]):
        begin, end = read[number], min(read[number] + count, len(streams[number]))
        lanes.add(PLACES[number], [Read(streams[number][offset], offset, None) for offset in range(begin, end)])
        read[number] = end
        behind = [place for place, at, stream in zip(PLACES, read, streams, strict=True) if at < len(stream)]
        taken = lanes.take(behind)
        found += [(step, one.received_ms, PLACES.index(place)) for place, one in taken]
        for number_, place in enumerate(PLACES):
            gone = sum(1 for _, _, other in found if other == number_)
            assert lanes.first_waiting().get(place, read[number_]) == gone
    return found


@given(STREAMS, FETCHES)
def test_everything_is_handed_over_once(streams: list[list[int]], fetches: list[tuple[int, int]]) -> None:
    found = handed_over(streams, fetches)

    assert sorted((place, at) for _, at, place in found) == sorted(
        (number, at) for number, stream in enumerate(streams) for at in stream
    )


@given(STREAMS, FETCHES)
def test_nothing_is_handed_over_before_what_is_older(streams: list[list[int]], fetches: list[tuple[int, int]]) -> None:
    found = handed_over(streams, fetches)

    steps = sorted({step for step, _, _ in found})
    latest = [max(at for step, at, _ in found if step == one) for one in steps]
    earliest = [min(at for step, at, _ in found if step == one) for one in steps]
    assert all(before <= after for before, after in zip(latest, earliest[1:], strict=False))


def test_a_place_that_is_behind_and_was_never_read_holds_everything() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.add(PLACES[0], [Read(1, 0, "a"), Read(2, 1, "b")])

    assert lanes.take([PLACES[1]]) == []
    assert lanes.waiting(PLACES[0]) == 2
    assert [one.record for _, one in lanes.take([PLACES[0]])] == ["a", "b"]


def test_event_time_is_that_of_the_records_and_the_clock_s_only_when_all_is_there() -> None:
    assert advanced(None, [], complete_ms=None) is None
    assert advanced(None, [5, 3], complete_ms=None) == 5
    assert advanced(9, [5, 3], complete_ms=None) == 9
    assert advanced(9, [], complete_ms=10) == 10
    assert advanced(9, [20], complete_ms=10) == 20


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=3, max_size=3), st.integers(0, 30))
def test_what_waits_is_handed_over_up_to_a_time_or_not_at_all(streams: list[list[int]], until_ms: int) -> None:
    lanes: Lanes[None] = Lanes()
    for place, stream in zip(PLACES, streams, strict=True):
        lanes.add(place, [Read(at, offset, None) for offset, at in enumerate(stream)])

    complete_ms = lanes.complete_until(until_ms)
    taken = [one.received_ms for _, one in lanes.take([], complete_ms)]

    assert complete_ms <= until_ms
    assert sorted(taken) == sorted(at for stream in streams for at in stream if at <= complete_ms)
