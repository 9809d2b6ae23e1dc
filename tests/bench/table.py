"""`python tests/bench/table.py FILE`: a run's JSON lines as the tables of docs/benchmarks.md.

Ratios and what the aims are about, nothing else: times of one machine mean little on another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from tests.bench import table_kafka

#: A benchmark's printed object. Read from a file, so nothing is known of it but what is looked up.
Printed = dict[str, Any]

_CASES: Final = {
    "asgi": "bare ASGI app, answers at once",
    "nothing": "gateway, keeps nothing",
    "durable": "**gateway, fsync before 200**",
    "durable_own_heads": "the same, no two heads alike",
}
_DISTURBED: Final = 0.1


def machine(found: dict[str, Printed]) -> Iterator[str]:
    """Where, and how long."""
    one = next(iter(found.values()))
    told = one["machine"]
    yield (
        f"{told['cores']} cores ({told['processor']}), Linux {told['kernel']}, Python {told['python']}, "
        f"{told['filesystem']}; {one['rounds']} rounds of {one['seconds']:g} s."
    )


def gateway(printed: Printed) -> Iterator[str]:
    """Each case held to the bare application."""
    cases = printed["result"]["cases"]
    bare = cases["asgi"]
    yield "| server | requests per s | requests per CPU s | p50 | p99 |"
    yield "| --- | --- | --- | --- | --- |"
    for name, title in _CASES.items():
        case = cases[name]
        p50, p99 = case["p50_ms"] / bare["p50_ms"], case["p99_ms"] / bare["p99_ms"]
        yield f"| {title} | {case['per_s_to_asgi']:.2f} | {case['per_cpu_s_to_asgi']:.2f} | {p50:.2f} | {p99:.2f} |"


def pipeline(printed: Printed) -> Iterator[str]:
    """The aims, and how many cores each process takes."""
    result = printed["result"]
    calm, pressed, flat_out = (result[name] for name in ("paced_2000", "paced_15000", "closed_loop"))
    yield (
        f"At 2,000/s from post to row: p50 {calm['visible_p50_ms']:.1f} ms, p99 {calm['visible_p99_ms']:.1f} ms, "
        f"largest {calm['visible_max_ms']:.1f} ms of {calm['probes']} probes."
    )
    yield ""
    yield "| load | accepted per s | rows per s | behind at the end | CPU, gateway : processor |"
    yield "| --- | --- | --- | --- | --- |"
    for title, load in (("15,000/s", pressed), ("closed loop", flat_out)):
        share = load["processor_cpu_s"] / load["gateway_cpu_s"]
        rates = f"{load['per_s']:,.0f} | {load['rows_per_s']:,.0f}"
        yield f"| {title} | {rates} | {load['backlog_s']:.2f} s | 1 : {share:.1f} |"


def core(printed: Printed) -> Iterator[str]:
    """The aim and the limit."""
    result = printed["result"]
    yield (
        f"{result['events_per_cpu_s']:,.0f} events per CPU second, {result['to_limit']:.2f} of what only reading and "
        f"writing the same JSON reaches; {result['outputs_per_event']:.2f} outputs an event."
    )


def memory(printed: Printed) -> Iterator[str]:
    """Three stages and the slope between the last two."""
    stages = printed["result"]["stages"]
    yield "| open messages | resident, to the first | bytes of tables a message |"
    yield "| --- | --- | --- |"
    for stage in stages:
        grown = stage["resident_bytes"] / stages[0]["resident_bytes"]
        yield f"| {stage['messages']:,} | {grown:.2f} | {stage['tables_bytes_per_message']:,.0f} |"
    slope = printed["result"]["resident_bytes_for_one_more_message"]
    yield ""
    yield f"One more open message between the last two: {slope:,.0f} resident bytes."


def layout(printed: Printed) -> Iterator[str]:
    """The process held to the thread."""
    ratios = printed["result"]["process_to_thread"]
    yield "| process ÷ thread | |"
    yield "| --- | --- |"
    for name, ratio in ratios.items():
        yield f"| {name.replace('_', ' ').removesuffix(' ms')} | {ratio:.2f} |"


def disturbed(found: dict[str, Printed]) -> list[str]:
    """Loads during which the rest of the machine was busy: run these again."""
    return sorted(f"{name} {share:.0%}" for name, share in _shares("", found) if share > _DISTURBED)


def _shares(name: str, node: object) -> Iterator[tuple[str, float]]:
    if isinstance(node, dict):
        for key, inner in node.items():
            if key == "others_share":
                yield name.strip("."), float(inner)
            yield from _shares(f"{name}.{key}" if key not in {"result", "cases"} else name, inner)


TABLES: Final = {
    "gateway": gateway,
    "pipeline": pipeline,
    "core": core,
    "memory": memory,
    "layout": layout,
    "gateway-kafka": table_kafka.gateway,
    "processing": table_kafka.processing,
    "latency-kafka": table_kafka.latency,
    "recovery-kafka": table_kafka.recovery,
}


def main(path: Path) -> None:
    """Print them; of a benchmark that is there twice the later one."""
    found: dict[str, Printed] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        printed: Printed = orjson.loads(line)
        found[str(printed["benchmark"])] = printed
    print("\n".join(machine(found)))
    for name, lines in TABLES.items():
        if name in found:
            print("\n".join(("", f"## {name}", "", *lines(found[name]))))
    for name in disturbed(found):
        print(f"disturbed by others: {name}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
