"""All benchmarks by name: run, and one JSON object for each on standard output; progress on standard error.

Nothing is asserted about a time. What is asserted is that every postback was answered 200 and is in
the tables once; a run that breaks that ends with one line and code 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from tests.bench import (
    bench_core,
    bench_gateway,
    bench_gateway_kafka,
    bench_incidents,
    bench_latency,
    bench_layout,
    bench_memory,
    bench_pipeline,
    bench_processing,
    bench_recovery,
    parquet_rows,
    postgres_rows,
)
from tests.bench.machine import describe
from tests.bench.measured import Plan, Result
from tests.bench.processes import BenchError

_TERMINATED: Final = 128 + signal.SIGTERM

BENCHMARKS: Final[dict[str, Callable[[Plan], Result]]] = {
    "gateway": bench_gateway.run,
    "pipeline": bench_pipeline.run,
    "core": bench_core.run,
    "incidents": bench_incidents.run,
    "memory": bench_memory.run,
    "layout": bench_layout.run,
    "postgres": postgres_rows.run,
    "parquet": parquet_rows.run,
    "gateway-kafka": bench_gateway_kafka.run,
    "processing": bench_processing.run,
    "latency-kafka": bench_latency.run,
    "recovery-kafka": bench_recovery.run,
}


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    names: tuple[str, ...]
    seconds: float
    rounds: int
    scale: float
    peers: bool
    directory: Path | None
    out: Path | None


def run(name: str, options: Options) -> Result:
    """One benchmark, with the machine it ran on and how long and often it ran. Raises `BenchError`."""
    with tempfile.TemporaryDirectory(prefix="sendtrace-bench-", dir=options.directory) as directory:
        plan = Plan(
            name=name,
            directory=Path(directory),
            seconds=options.seconds,
            rounds=options.rounds,
            scale=options.scale,
            peers=options.peers,
        )
        machine = describe(plan.directory)._asdict()
        return {
            "benchmark": name,
            "machine": machine,
            "seconds": options.seconds,
            "rounds": options.rounds,
            "scale": options.scale,
            "result": BENCHMARKS[name](plan),
        }


def main(arguments: list[str]) -> int:
    """Run what was asked for, or everything; the exit code."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # what was started is ended on the way out
    for name in options.names:
        try:
            line = orjson.dumps(run(name, options)).decode()
        except BenchError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(line, flush=True)
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return 0


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="tests/bench/run.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []], help=", ".join(BENCHMARKS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: fewer events and messages, to try out")
    parser.add_argument("--peers", action="store_true", help="install and measure those too that do not come with us")
    parser.add_argument("--directory", type=Path, help="where data lies meanwhile, on the disk to be measured")
    parser.add_argument("--out", type=Path, help="a file to which the JSON is appended as well")
    found = parser.parse_args(arguments)
    names = tuple(found.names) or tuple(BENCHMARKS)
    return Options(names, found.seconds, found.rounds, found.scale, found.peers, found.directory, found.out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
