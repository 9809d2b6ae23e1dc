"""CPU per event of tallies and of the incident step, beside the core's own per event in the same run."""

from __future__ import annotations

from typing import Final

from tests.bench.incidents_process import Cost
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.processes import helper

_EVENTS: Final = 120_000


def run(plan: Plan) -> Result:
    """A fresh process each round. Raises `BenchError`."""
    found = []
    for number in range(plan.rounds):
        with helper("tests.bench.incidents_process", round(_EVENTS * plan.scale)) as process:
            one = Cost(**process.told())  # type: ignore[arg-type]  # it wrote a Cost's own fields
        plan.say(f"round {number + 1}: {one.storm_failures / one.storm_s:,.0f} failures/s in a storm")
        found.append(one)
    return {
        "events": found[0].events,
        "failures": found[0].failures,
        "state_bytes": found[0].state_bytes,
        "core_us_per_event": median(1e6 * one.core_s / one.events for one in found),
        "tallies_us_per_event": median(1e6 * one.tallies_s / one.events for one in found),
        "step_us_per_event": median(1e6 * one.step_s / one.events for one in found),
        "tallies_to_core": median(one.tallies_s / one.core_s for one in found),
        "step_to_core": median(one.step_s / one.core_s for one in found),
        "step_to_core_spread": spread(one.step_s / one.core_s for one in found),
        "storm_failures_per_cpu_s": median(one.storm_failures / one.storm_s for one in found),
        "us_per_touched_group": median(1e6 * one.touched_s / one.touched_groups for one in found),
        "storm_failures_per_cpu_s_spread": spread(one.storm_failures / one.storm_s for one in found),
    }
