"""`sendtrace demo`: everything in one place, driven by the stand-in providers, watched in a live table.

Shows what it finds in the tables, never what it sent: a message on the screen went the whole way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Group
from rich.live import Live
from rich.text import Text

from sendtrace.clock import SystemClock
from sendtrace.commands.audit import audit_of, verdict
from sendtrace.commands.common import settings_of
from sendtrace.commands.places import Place
from sendtrace.data_paths import DataPaths
from sendtrace.demo_board import Board
from sendtrace.demo_data import demo_data
from sendtrace.sandbox import Sandbox
from sendtrace.sandbox_traffic import traffic
from sendtrace.serving import Running
from sendtrace.terminal import console, drawn, is_fancy, program, ready_line, say
from sendtrace.timeline import duration
from sendtrace.up import run
from sinks.tables.sqlite_reader import SqliteReader

_LIVE_PERIOD_S: Final = 0.4
_LINE_PERIOD_S: Final = 2.0
_MOST_READS: Final = 50  # of a thousand transitions each, between two looks
_MS: Final = 1000


class DemoOptions(NamedTuple):
    """What the command line says."""

    data: Path
    port: int | None
    admin_port: int | None
    messages_per_s: float
    seconds: float | None
    seed: int


def run_demo(options: DemoOptions) -> int:
    """Run until Ctrl-C or the time is over; returns the exit code. Raises `DemoError` and `SettingsError`."""
    with demo_data(options.data) as made:
        settings = settings_of(made.config, data=options.data, port=options.port, admin_port=options.admin_port)
        say(f"sendtrace demo: no broker, no network; data in {options.data}; Ctrl-C stops")
        demo = _Demo(options, made.tokens)
        code = run(settings, on_ready=lambda running: say(ready_line(*running)), notice=say, alongside=demo.beside)
        if demo.started:
            _farewell(options.data, demo.board)
        return code


def _farewell(data: Path, board: Board) -> None:
    us = program()
    say()
    say(verdict(audit_of(Place(DataPaths(data), None))))
    example = board.example()
    if example is not None:
        say(f"a message   {us} show {example} --data {data}")
    say(f"refused     {us} dead list --data {data}")
    say(f"your own    {us} init && {us} up")


class _Demo:
    """The traffic and the screen, beside the running pipeline."""

    def __init__(self, options: DemoOptions, tokens: dict[str, str]) -> None:
        self.board = Board()
        self.started = False
        self._options = options
        self._tokens = tokens
        self._clock = SystemClock()
        self._began_s = 0.0
        self._seq = 0

    async def beside(self, running: Running, stop: asyncio.Event) -> None:
        """Post traffic and show what comes of it until `stop` is set or the time is over."""
        self.started, self._began_s = True, self._clock.monotonic_s()
        urls = {name: f"{running.gateway_url}/in/{name}/{token}" for name, token in self._tokens.items()}
        stand_ins = Sandbox(urls, clock=self._clock)
        postings = traffic(
            seed=self._options.seed, messages_per_s=self._options.messages_per_s, start_ms=self._clock.now_ms()
        )
        if self._options.seconds is not None:
            asyncio.get_running_loop().call_later(self._options.seconds, stop.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stand_ins.run(postings, stop))
            tasks.create_task(self._watch(stand_ins, stop))

    async def _watch(self, stand_ins: Sandbox, stop: asyncio.Event) -> None:
        with ExitStack() as stack:
            reader = stack.enter_context(closing(SqliteReader(DataPaths(self._options.data).tables)))
            show, period_s = self._screen(stack)
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), period_s)
                first, handled = await asyncio.to_thread(self._read, reader)
                show(first, ", ".join((handled, *stand_ins.tally.trouble())))

    def _read(self, reader: SqliteReader) -> tuple[list[str], str]:
        """What is new in the tables: a line for each status seen for the first time, and the counts in words."""
        first: list[str] = []
        for _ in range(_MOST_READS):
            found = reader.transitions_after(self._seq)
            first += self.board.feed(found.transitions)
            if found.seq == self._seq:
                break
            self._seq = found.seq
        self.board.count(reader.counts_by_status())
        counts = reader.audit_rows().counts
        applied, folded, dead = (
            (sum(column) for column in zip(*(row[2:5] for row in counts), strict=True)) if counts else (0, 0, 0)
        )
        return first, f"{applied + folded + dead:,} postbacks, {folded:,} folded as repeats, {dead:,} not understood"

    def _screen(self, stack: ExitStack) -> tuple[Callable[[list[str], str], None], float]:
        """How to show what is new, and how often."""
        if not is_fancy():
            return self._print, _LINE_PERIOD_S
        live = stack.enter_context(Live(console=console(), auto_refresh=False))
        return lambda first, counts: self._draw(live, first, counts), _LIVE_PERIOD_S

    def _print(self, first: list[str], counts: str) -> None:
        for line in first:
            say(line)
        say(f"{self._elapsed()}  {self.board.line()}; {counts}")

    def _draw(self, live: Live, first: list[str], counts: str) -> None:
        for line in first:
            live.console.print(Text(line), soft_wrap=True)
        table = drawn(self.board.grid(), one_line_rows=True)
        told = f"{self._elapsed()} · {self.board.messages:,} messages · {counts}"
        below = Text(told, style="dim", no_wrap=True, overflow="ellipsis")
        live.update(Group(table, below), refresh=True)

    def _elapsed(self) -> str:
        return duration(round((self._clock.monotonic_s() - self._began_s) * _MS))
