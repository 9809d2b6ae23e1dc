"""From a posted postback to its row in the tables: how soon at a calm pace, and how many when it is pressed.

A real `sendtrace up` on a fresh directory each round, and one load after another: 2,000 a second
with probes, 15,000 a second, and as fast as 64 connections go. Messages are distinct, with four
postbacks each in slight disorder and one in twenty repeated.
"""

from __future__ import annotations

import shutil
from typing import Final

from tests.bench.driven import Burst, Steady, driven
from tests.bench.machine import percentile
from tests.bench.measured import Plan, Result, median, spread

CALM_PER_S: Final = 2_000
PRESSED_PER_S: Final = 15_000
_LONGER: Final = 2  # what is called sustained must outlast buffers, and meet tables that have grown


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    calm: list[Steady] = []
    pressed: list[Burst] = []
    flat_out: list[Burst] = []
    for number in range(plan.rounds):
        directory = plan.directory / f"data-{number}"
        with driven(directory) as product:
            calm.append(product.steady(plan.seconds, round(CALM_PER_S * plan.scale)))
            pressed.append(product.burst(_LONGER * plan.seconds, rate_per_s=round(PRESSED_PER_S * plan.scale)))
            flat_out.append(product.burst(plan.seconds))
        plan.say(f"round {number + 1}: {flat_out[-1].rows_per_s:,.0f} rows/s")
        shutil.rmtree(directory)
    return {
        f"paced_{CALM_PER_S}": steady_summary(calm),
        f"paced_{PRESSED_PER_S}": burst_summary(pressed),
        "closed_loop": burst_summary(flat_out),
    }


def steady_summary(rounds: list[Steady]) -> Result:
    """Probes of all rounds together; medians of the rest."""
    visible_ms = [taken for one in rounds for taken in one.visible_ms]
    return {
        "probes": len(visible_ms),
        "visible_p50_ms": median([percentile(visible_ms, 50)]),
        "visible_p99_ms": median([percentile(visible_ms, 99)]),
        "visible_max_ms": median([max(visible_ms)]),
        **{name: median(getattr(one, name) for one in rounds) for name in Steady._fields if name != "visible_ms"},
    }


def burst_summary(rounds: list[Burst]) -> Result:
    """Medians."""
    return {
        **{name: median(getattr(one, name) for one in rounds) for name in Burst._fields},
        "rows_per_s_spread": spread(one.rows_per_s for one in rounds),
    }
