"""`sendtrace up`, `sendtrace demo` and `sendtrace sandbox`: what runs until it is stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Final

import typer

from sendtrace import sandbox_braze, sandbox_nrs
from sendtrace.clock import SystemClock
from sendtrace.commands.common import OK, AdminPort, Config, Data, Port, TroubleError, settings_of
from sendtrace.demo_data import DemoError
from sendtrace.sandbox import Sandbox
from sendtrace.sandbox_traffic import traffic
from sendtrace.terminal import complain, ready_line, say

_DEMO_DIRECTORY: Final = Path("demo-data")
_REPORT_PERIOD_S: Final = 5.0
_MOST_PER_S: Final = 1_000.0
_MOST_PROCESSES: Final = 256

Rate = Annotated[
    float,
    typer.Option("--rate", metavar="N", min=0.1, max=_MOST_PER_S, help="New messages a second, each 1-5 postbacks."),
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", metavar="N", min=1, help="Stop after this long. Default: on Ctrl-C.")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Repeat the traffic of a run. Default: another each time."),
]


def up(*, config: Config = None, data: Data = None, port: Port = None, admin_port: AdminPort = None) -> int:
    """Run gateway, processor, tables and read API until SIGTERM or Ctrl-C; prints `ready` with both addresses.

    Example: sendtrace up --data ./sendtrace-data --port 8080
    """
    from sendtrace.up import run  # noqa: PLC0415  its servers take longer to import than `show` takes to run

    settings = settings_of(config, data=data, port=port, admin_port=admin_port, takes_postbacks=True)
    return run(settings, on_ready=lambda running: say(ready_line(*running)), notice=complain)


def gateway(*, config: Config = None, data: Data = None, port: Port = None, admin_port: AdminPort = None) -> int:
    """Run the gateway alone, with Kafka as its log and a spool in the data directory, until Ctrl-C.

    It answers 200 also while no broker does: what Kafka will not take is on disk, and is sent later.

    Example: sendtrace gateway --port 8080
    """
    from sendtrace.gateway_role import run  # noqa: PLC0415  as in `up`

    settings = settings_of(config, data=data, port=port, admin_port=admin_port, takes_postbacks=True)
    return run(settings, on_ready=lambda running: say(ready_line(*running, admin_is="health")), notice=complain)


def worker(
    *,
    config: Config = None,
    data: Data = None,
    admin_port: AdminPort = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, max=_MOST_PROCESSES, help="One for each core to use.")
    ] = 1,
) -> int:
    """Handle postbacks from Kafka, until Ctrl-C: raw in; transitions, status and dead letters out.

    Any number of workers share the partitions, each with a data directory of its own: its state, which
    is made again from the topics when it is gone.

    Example: sendtrace worker --processes 2 --data ./worker-data
    """
    from sendtrace.worker_role import run  # noqa: PLC0415  as in `up`

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, processes=processes, on_ready=lambda admin: say(f"ready  {admin} (admin)"), notice=complain)


def demo(
    *,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Made when missing; an older demo's is renewed.")
    ] = _DEMO_DIRECTORY,
    port: Port = None,
    admin_port: AdminPort = None,
    rate: Rate = 5.0,
    seconds: Seconds = None,
    seed: Seed = None,
) -> int:
    """Run everything on this machine with sandbox traffic of both providers, and show messages by status.

    Example: sendtrace demo --rate 20 --seconds 60
    """
    from sendtrace.demo import DemoOptions, run_demo  # noqa: PLC0415  as in `up`

    options = DemoOptions(data, port, admin_port, rate, seconds, _seed(seed))
    try:
        return run_demo(options)
    except DemoError as error:
        raise TroubleError(str(error)) from error


def sandbox(
    *,
    url_braze: Annotated[str | None, typer.Option("--url-braze", metavar="URL", help="Braze's postback URL.")] = None,
    url_nrs: Annotated[str | None, typer.Option("--url-nrs", metavar="URL", help="360NRS's notification URL.")] = None,
    rate: Rate = 5.0,
    seconds: Seconds = None,
    seed: Seed = None,
    hurry: Annotated[
        float, typer.Option("--hurry", metavar="N", min=1, help="Divide 360NRS's pauses before retries.")
    ] = 1.0,
) -> int:
    """Send what Braze and 360NRS would, repeats, disorder and oddities included, to your postback URLs.

    Example: sendtrace sandbox --url-braze http://127.0.0.1:8080/in/braze/TOKEN --rate 20
    """
    urls = {name: url for name, url in ((sandbox_braze.NAME, url_braze), (sandbox_nrs.NAME, url_nrs)) if url}
    if not urls:
        raise typer.BadParameter("give --url-braze, --url-nrs or both; `sendtrace init` prints such URLs")
    return asyncio.run(_post(urls, rate, seconds, _seed(seed), hurry))


async def _post(urls: dict[str, str], rate: float, seconds: float | None, seed: int, hurry: float) -> int:
    clock, stop = SystemClock(), asyncio.Event()
    try:
        stand_ins = Sandbox(urls, clock=clock, hurry=hurry)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    say(f"posting as {' and '.join(urls)}; Ctrl-C stops; --seed {seed} repeats it")
    postings = traffic(seed=seed, messages_per_s=rate, start_ms=clock.now_ms(), providers=tuple(urls))
    running = loop.create_task(stand_ins.run(postings, stop))
    while not (await asyncio.wait([running], timeout=_REPORT_PERIOD_S))[0]:
        say(stand_ins.tally.line())
    await running
    say(stand_ins.tally.line())
    return OK


def _seed(given: int | None) -> int:
    return SystemClock().now_ms() if given is None else given
