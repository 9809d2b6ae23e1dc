"""`sendtrace export` and `sendtrace sink parquet`: rows of the tables as Parquet files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sendtrace.clock import SystemClock
from sendtrace.commands.common import AdminPort, Config, Data, TroubleError, config_file, settings_of
from sendtrace.commands.places import place_of
from sendtrace.settings import Settings
from sendtrace.spans import SpanError, moment_ms
from sendtrace.terminal import complain, is_fancy, say

if TYPE_CHECKING:
    from sendtrace.parquet_export import Done, Span
    from sinks.parquet.hours import Outcome

#: tests/unit/test_cli_export.py holds it to pyproject.toml.
PYARROW: Final = "pyarrow==26.0.1"
_MIB: Final = 1024 * 1024

To = Annotated[
    str | None,
    typer.Option("--to", metavar="DIR|URL", help="A directory or s3://BUCKET/PREFIX (SENDTRACE_PARQUET__TO)."),
]


class Table(StrEnum):
    """What can be exported."""

    TRANSITIONS = "transitions"
    MESSAGES = "messages"
    DEAD_LETTERS = "dead_letters"
    INCIDENTS = "incidents"


def export(
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="AGO|TIME", help="24h, 7d, 90m, or a day or time in ISO 8601, UTC.")
    ],
    until: Annotated[
        str | None, typer.Option("--until", metavar="AGO|TIME", help="The end, in the same words. Default: now.")
    ] = None,
    to: To = None,
    table: Annotated[
        list[Table] | None, typer.Option("--table", help="Only this table; may be given again. Default: all.")
    ] = None,
    bodies: Annotated[
        bool, typer.Option("--bodies", help="Dead letters with their bodies, which hold personal data.")
    ] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write tables as Parquet files by day and source, in whole hours; run it again to bring them up to date.

    Works beside a running sendtrace. A file is there whole or not at all, and each row once, whatever is repeated.

    Example: sendtrace export --since 7d --to ./parquet
    """
    require_pyarrow()
    from sendtrace.parquet_export import export as write  # noqa: PLC0415  Arrow takes longer than `show` does
    from sendtrace.parquet_role import open_rows  # noqa: PLC0415  the same
    from sinks.parquet.root import open_root  # noqa: PLC0415  the same

    span = _span(since, until)
    tables = list(dict.fromkeys(str(one) for one in table or Table))
    place = place_of(config, data)
    settings = place.settings or _settings(config, data)
    wanted = _place(to, settings)
    root = open_root(wanted, s3_endpoint=None if settings is None else settings.parquet.s3_endpoint)
    with closing(open_rows(place.settings, place.paths.tables)) as rows, _progress() as progress:
        outcomes = write(root, rows, span, tables, bodies=bodies, progress=progress)
    say(f"{span.since[:16]} to {span.until[:16]} UTC, in {wanted}")
    for name, outcome in outcomes.items():
        say(_told(name, outcome))


def parquet(*, to: To = None, config: Config = None, data: Data = None, admin_port: AdminPort = None) -> int:
    """Write transitions into Parquet files as they come, until Ctrl-C; with them dead letters and incidents.

    Reads the tables of a running `sendtrace up`, or those of `sendtrace sink tables`, and goes on where the files end.

    Example: sendtrace sink parquet --to s3://a-bucket/sendtrace
    """
    require_pyarrow()
    from sendtrace.parquet_role import run  # noqa: PLC0415  as above

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, _place(to, settings), on_ready=lambda url: say(f"ready  {url} (admin)"), notice=complain)


def require_pyarrow() -> None:
    """Raises `TroubleError` with the command that installs it."""
    if find_spec("pyarrow") is None:
        raise TroubleError(
            f"Parquet needs pyarrow, which is not installed; run: {sys.executable} -m pip install {PYARROW}"
        )


def _settings(config: Config, data: Data) -> Settings | None:
    """Those there are, for an embedded data directory that needs none."""
    file = config_file(config, data)
    return None if config is None and file is not None and not file.is_file() else settings_of(config, data=data)


def _place(to: str | None, settings: Settings | None) -> str:
    found = to or (settings.parquet.to if settings is not None else None)
    if found is None:
        raise typer.BadParameter("say where: a directory, or s3://BUCKET/PREFIX", param_hint="--to")
    return found


def _span(since: str, until: str | None) -> Span:
    from sendtrace.parquet_export import whole_hours  # noqa: PLC0415  as above

    now_ms = SystemClock().now_ms()
    moments = []
    for option, text in (("--since", since), ("--until", until)):
        try:
            moments.append(now_ms if text is None else moment_ms(text, now_ms))
        except SpanError as error:
            raise typer.BadParameter(str(error), param_hint=option) from None
    try:
        return whole_hours(*moments)
    except (ValueError, OverflowError):
        raise typer.BadParameter("it has to be after --since", param_hint="--until") from None


def _told(name: str, outcome: Outcome) -> str:
    """`transitions   1,234 rows  2 files written (0.4 MiB), 22 as they were`."""
    files = f"{outcome.written:,} files written ({outcome.bytes / _MIB:,.1f} MiB), {outcome.same:,} as they were"
    alone = (
        f", {outcome.left_alone:,} left alone: they have rows the tables no longer have" if outcome.left_alone else ""
    )
    return f"{name:<13}{outcome.rows:>12,} rows  {files}{alone}"


@contextmanager
def _progress() -> Iterator[Callable[[Done], None]]:
    """A bar for each table on a terminal, nothing in a pipe."""
    if not is_fancy(sys.stderr):
        yield lambda _done: None
        return
    from rich.console import Console  # noqa: PLC0415  only for a terminal
    from rich.progress import Progress, TaskID  # noqa: PLC0415  the same

    with Progress(console=Console(file=sys.stderr), transient=True) as bars:
        ids: dict[str, TaskID] = {}

        def show(done: Done) -> None:
            if done.table not in ids:  # those that are exported, as they come
                ids[done.table] = bars.add_task(f"{done.table:<13}")
            bars.update(ids[done.table], completed=done.hours, total=done.of)

        yield show
