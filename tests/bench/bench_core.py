"""Events a second of the pure core on one core, every output serialized, beside what only serializing costs."""

from __future__ import annotations

from typing import Final

from tests.bench.core_process import Core
from tests.bench.measured import Plan, Result, median, spread
from tests.bench.processes import helper

_EVENTS: Final = 120_000


def run(plan: Plan) -> Result:
    """A fresh process each round. Raises `BenchError`."""
    found = []
    for number in range(plan.rounds):
        with helper("tests.bench.core_process", round(_EVENTS * plan.scale)) as process:
            one = Core(**process.told())  # type: ignore[arg-type]  # it wrote a Core's own fields
        plan.say(f"round {number + 1}: {one.events / one.core_s:,.0f} events/s")
        found.append(one)
    return {
        "events": found[0].events,
        "outputs_per_event": median(one.outputs / one.events for one in found),
        "duplicates": found[0].duplicates,
        "events_per_cpu_s": median(one.events / one.core_s for one in found),
        "limit_per_cpu_s": median(one.events / one.limit_s for one in found),
        "to_limit": median(one.limit_s / one.core_s for one in found),
        "events_per_cpu_s_spread": spread(one.events / one.core_s for one in found),
    }
