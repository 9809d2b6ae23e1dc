"""One `sendtrace up` under the loads of the pipeline's benchmarks, and what each came to.

A load is over when everything it was promised is in the tables; whatever is missing, double or dead
there makes the run worthless and is an error, not a figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import machine
from tests.bench.gateway_servers import PATH
from tests.bench.load_client import Load
from tests.bench.processes import BenchError, Helper, helper, send
from tests.bench.product_process import Layout, Product
from tests.bench.tables_view import TablesView
from tests.bench.visibility_probe import Probing

#: More than any of this takes in a second, so that a closed loop does not run out of postbacks.
_MOST_PER_S: Final = 30_000


class Burst(NamedTuple):
    """One load, from its first request until nothing is pending.

    `backlog_s` is how long that took after the last answer. CPU seconds are for 100,000 postbacks.
    """

    accepted: int
    per_s: float
    rows_per_s: float
    backlog: int
    backlog_s: float
    p50_ms: float
    p99_ms: float
    gateway_cpu_s: float
    processor_cpu_s: float
    others_share: float


class Steady(NamedTuple):
    """A paced load with probes beside it: milliseconds from post to row, and of the answers."""

    visible_ms: list[float]
    answer_p50_ms: float
    answer_p99_ms: float
    gateway_cpu_s: float
    processor_cpu_s: float
    others_share: float


class Driven:
    """The product and what was sent to it so far."""

    def __init__(self, product: Helper, port: int, directory: Path) -> None:
        self._product = product
        self._port = port
        self._directory = directory
        self._accepted = 0
        self._seed = 0
        # In the thread layout there is no child, and its time is the gateway's.
        self._pids = (product.pid, *machine.children(product.pid))

    def burst(self, seconds: float, *, rate_per_s: int = 0) -> Burst:
        """As fast as it goes, or paced. Raises `BenchError`."""
        load = self._load(seconds, rate_per_s)
        before = machine.usage(self._pids)
        sent = send(load)
        with self._tables() as tables:
            backlog = self._accepted + sent.kept - tables.handled()
            done_s = max(sent.ended_s, tables.when_handled(self._accepted + sent.kept))
        self._accepted += sent.kept
        of = machine.usage(self._pids).since(before).of
        return Burst(
            accepted=sent.kept,
            per_s=sent.kept / (sent.ended_s - sent.began_s),
            rows_per_s=sent.kept / (done_s - sent.began_s),
            backlog=backlog,
            backlog_s=done_s - sent.ended_s,
            p50_ms=sent.p50_ms,
            p99_ms=sent.p99_ms,
            **_cpu(self._pids, of, sent.kept),
            others_share=sent.others_share,
        )

    def steady(self, seconds: float, rate_per_s: int) -> Steady:
        """Paced, with probes. Raises `BenchError`."""
        probing = Probing(self._port, str(self._directory), seconds, self._next_seed())
        with helper("tests.bench.visibility_probe", probing) as probe:
            probe.told()
            before = machine.usage(self._pids)
            sent = send(self._load(seconds, rate_per_s), beside=probe.go)
            probes = probe.told()
        visible_ms = [float(taken) for taken in probes["visible_ms"]]  # type: ignore[attr-defined]  # it wrote a list of numbers
        self._accepted += sent.kept + len(visible_ms)
        with self._tables() as tables:
            tables.when_handled(self._accepted)
        of = machine.usage(self._pids).since(before).of
        cpu = _cpu(self._pids, of, sent.kept + len(visible_ms))
        return Steady(visible_ms, sent.p50_ms, sent.p99_ms, **cpu, others_share=sent.others_share)

    def _load(self, seconds: float, rate_per_s: int) -> Load:
        return Load(
            port=self._port,
            path=PATH,
            seconds=seconds,
            bodies=round((rate_per_s or _MOST_PER_S) * seconds),
            seed=self._next_seed(),
            messages=True,
            rate_per_s=rate_per_s,
            watched=self._pids,
        )

    def _next_seed(self) -> int:
        """Other messages each time: nothing may look like a repeat of an earlier load."""
        self._seed += 1
        return self._seed

    @contextmanager
    def _tables(self) -> Iterator[TablesView]:
        tables = TablesView(self._directory)
        try:
            yield tables
        finally:
            tables.close()


@contextmanager
def driven(directory: Path, layout: Layout = "process") -> Iterator[Driven]:
    """A product on a new directory, stopped properly. Raises `BenchError` if it does not stop with 0."""
    directory.mkdir()
    with helper("tests.bench.product_process", Product(str(directory), layout)) as product:
        port = int(str(product.told()["port"]))
        yield Driven(product, port, directory)
        code = product.stop()
    if code != 0:
        raise BenchError(f"sendtrace ended with {code} after SIGTERM")


def _cpu(pids: tuple[int, ...], of: dict[int, float], postbacks: int) -> dict[str, float]:
    """CPU seconds of 100,000 postbacks, in the gateway's process and in all others."""
    whole = sum(of.values()) * 1e5 / postbacks
    gateway = of[pids[0]] * 1e5 / postbacks
    return {"gateway_cpu_s": gateway, "processor_cpu_s": whole - gateway}
