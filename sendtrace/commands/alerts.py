"""`sendtrace alerts`: which targets there are, and whether one can be told."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import urlsplit

import typer

from processors.classify import Classifier
from sendtrace.clock import SystemClock
from sendtrace.commands.common import OK, TROUBLE, Config, Data, settings_of
from sendtrace.notify_targets import base_url_of, channel_of, check_labels
from sendtrace.settings import Settings
from sendtrace.settings_notifications import TargetSettings
from sendtrace.terminal import Cell, Grid, safe, say, show_grid
from sinks.notifications.words import Links

alerts_app = typer.Typer(help="Who is told of incidents: list the targets, send one a test.", no_args_is_help=True)

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="A NAME of notifications.targets.NAME.")]


@alerts_app.command("targets")
def targets(*, config: Config = None, data: Data = None) -> None:
    """List the targets of the settings: of which kind, at which host, and what they are told of.

    Example: sendtrace alerts targets
    """
    settings = _settings(config, data)
    if not settings.notifications.targets:
        say("none: nobody is told of incidents; docs/notifications.md shows how to add a target")
        return
    rows = [
        (Cell(name), Cell(each.kind), Cell(_host(each)), Cell(_when(each)))
        for name, each in settings.notifications.targets.items()
    ]
    show_grid(Grid(("target", "kind", "host", "told of"), rows))


@alerts_app.command("test")
def send_test(target: TargetName, *, config: Config = None, data: Data = None) -> int:
    """Send a target a message that is marked as a test, and print what came back. Exit code 1 if it was not taken.

    An alarm that this raises is ended right after. Grouping, throttle and silences have no part in it.

    Example: sendtrace alerts test ops
    """
    settings = _settings(config, data)
    found = settings.notifications.targets.get(target)
    if found is None:
        raise typer.BadParameter(_no_such(target, settings))
    return asyncio.run(_send_test(target, found, Links(base_url_of(settings))))


async def _send_test(name: str, target: TargetSettings, links: Links) -> int:
    from sinks.notifications.sample import sample_messages  # noqa: PLC0415  as the client in `channel_of`

    clock = SystemClock()
    channel = channel_of(name, target, links)
    for word, message in sample_messages(name, channel.shape, clock.now_ms()):
        began_s = clock.monotonic_s()
        outcome = await channel.send(message, clock.now_ms())
        taken = outcome.state == "delivered"
        verdict = "taken" if taken else "NOT TAKEN"
        line = f"{name}: {word} {verdict} after {clock.monotonic_s() - began_s:.2f} s: {safe(outcome.answer)}"
        say(line, "green" if taken else "bold red")
        if not taken:
            say("it would be tried again" if outcome.state == "again" else "it would be parked at once")
            return TROUBLE
    return OK


def _settings(config: Config, data: Data) -> Settings:
    settings = settings_of(config, data=data)
    check_labels(settings, Classifier.load(settings.classifier.rules).catalogue)
    return settings


def _no_such(target: str, settings: Settings) -> str:
    known = sorted(settings.notifications.targets)
    there = f"there are {', '.join(known)}" if known else "add a table [notifications.targets.NAME]"
    return f"there is no target {safe(target)!r}; {there}"


def _host(target: TargetSettings) -> str:
    """All of a URL that is no secret; what stands for a host in one of apprise may be a token."""
    url = target.url.get_secret_value() if target.url else ""
    if target.kind == "apprise":
        return f"{url.partition('://')[0]}://"
    return (urlsplit(url).hostname or "") if url else "PagerDuty"


def _when(target: TargetSettings) -> str:
    when = target.when
    labels = {"source": when.sources, "campaign": when.campaigns, "class": when.classes}
    parts = [f"{name} {' or '.join(values)}" for name, values in labels.items() if values]
    least = [] if when.severity == "info" else [f"{when.severity} and worse"]
    return ", ".join((*least, *parts)) or "all incidents"
