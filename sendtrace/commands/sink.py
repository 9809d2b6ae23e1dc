"""`sendtrace sink …` and `sendtrace web`: the roles on Kafka behind the worker, until they are stopped."""

from __future__ import annotations

import typer

from sendtrace.commands.common import AdminPort, Config, Data, settings_of
from sendtrace.terminal import complain, say

sink_app = typer.Typer(help="What workers wrote to Kafka into tables, and tables into files.", no_args_is_help=True)


@sink_app.callback()
def _sink() -> None:
    """Keep `tables` a word of its own: the only command of a group would else take the group's name."""


@sink_app.command("tables")
def tables(*, config: Config = None, data: Data = None, admin_port: AdminPort = None) -> int:
    """Write what workers put out into tables, until Ctrl-C: into Postgres, or SQLite in the data directory.

    It goes on where the tables are; Kafka or the database may come and go.

    Example: sendtrace sink tables --data ./sink-data
    """
    from sendtrace.sink_role import run  # noqa: PLC0415  its client takes longer to import than `show` takes to run

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, on_ready=lambda admin_url: say(f"ready  {admin_url} (admin)"), notice=complain)


@sink_app.command("incidents")
def incidents(*, config: Config = None, data: Data = None, admin_port: AdminPort = None) -> int:
    """Compute incidents from what workers put out, into the tables and topic alerts, until Ctrl-C.

    The tables are made by `sendtrace sink tables`; with SQLite both have one data directory.

    Example: sendtrace sink incidents --data ./sink-data
    """
    from sendtrace.incidents_role import run  # noqa: PLC0415  as above

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, on_ready=lambda admin_url: say(f"ready  {admin_url} (admin)"), notice=complain)


@sink_app.command("notifications")
def notifications(*, config: Config = None, data: Data = None, admin_port: AdminPort = None) -> int:
    """Tell people of the incidents in the tables, until Ctrl-C: those in notifications.targets.

    It reads the tables alone, and goes on where it was; `sendtrace up` has it inside.

    Example: sendtrace sink notifications --data ./sink-data
    """
    from sendtrace.notify_role import run  # noqa: PLC0415  as above

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, on_ready=lambda admin_url: say(f"ready  {admin_url} (admin)"), notice=complain)


def web(*, config: Config = None, data: Data = None, admin_port: AdminPort = None) -> int:
    """Serve page and read API on the tables of `sendtrace sink tables`, until Ctrl-C.

    Example: sendtrace web --admin-port 8081
    """
    from sendtrace.web_role import run  # noqa: PLC0415  as above

    settings = settings_of(config, data=data, admin_port=admin_port)
    return run(settings, on_ready=lambda admin_url: say(f"ready  {admin_url} (page and API)"), notice=complain)
