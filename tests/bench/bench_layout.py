"""Why the processor is a process of its own: the same program with the processor in a thread of the gateway's.

Both layouts get the same loads, a fresh directory each time, interleaved: 2,000 a second with
probes, then as fast as 64 connections go.
"""

from __future__ import annotations

import shutil
from typing import Final, get_args

from tests.bench.bench_pipeline import CALM_PER_S, burst_summary, steady_summary
from tests.bench.driven import Burst, Steady, driven
from tests.bench.measured import Plan, Result, median
from tests.bench.product_process import Layout

_LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)


def run(plan: Plan) -> Result:
    """See the module. Raises `BenchError`."""
    calm: dict[Layout, list[Steady]] = {layout: [] for layout in _LAYOUTS}
    flat_out: dict[Layout, list[Burst]] = {layout: [] for layout in _LAYOUTS}
    for number in range(plan.rounds):
        for layout in _LAYOUTS:
            directory = plan.directory / f"{layout}-{number}"
            with driven(directory, layout) as product:
                calm[layout].append(product.steady(plan.seconds, round(CALM_PER_S * plan.scale)))
                flat_out[layout].append(product.burst(plan.seconds))
            plan.say(f"round {number + 1}: {layout} {flat_out[layout][-1].per_s:,.0f}/s")
            shutil.rmtree(directory)
    return {
        **{
            layout: {
                f"paced_{CALM_PER_S}": steady_summary(calm[layout]),
                "closed_loop": burst_summary(flat_out[layout]),
            }
            for layout in _LAYOUTS
        },
        "process_to_thread": _ratios(calm, flat_out),
    }


def _ratios(calm: dict[Layout, list[Steady]], flat_out: dict[Layout, list[Burst]]) -> Result:
    """Medians of each round's ratio of the process layout to the thread."""
    steady = list(zip(calm["process"], calm["thread"], strict=True))
    burst = list(zip(flat_out["process"], flat_out["thread"], strict=True))
    return {
        "paced_answer_p99_ms": median(one.answer_p99_ms / other.answer_p99_ms for one, other in steady),
        **{
            f"closed_loop_{name}": median(getattr(one, name) / getattr(other, name) for one, other in burst)
            for name in ("per_s", "rows_per_s", "p99_ms")
        },
    }
