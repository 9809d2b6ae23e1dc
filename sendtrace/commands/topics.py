"""`sendtrace topics`: the Kafka topics of the catalogue, made with its policies and held against them."""

from __future__ import annotations

from typing import Final

import typer

from sendtrace.commands.common import OK, TROUBLE, WRONG_USE, Config, config_file, settings_of
from sendtrace.kafka_topics import Looked, Made, as_made, compare, described, expected_topics, policy_text
from sendtrace.settings import Settings, SettingsError
from sendtrace.settings_model import BROKERS_VARIABLE
from sendtrace.terminal import Cell, Grid, safe, say, show_grid
from sendtrace.timeline import NONE

_COLUMNS: Final = ("topic", "partitions", "replicas", "policy", "state")

topics_app = typer.Typer(help="The Kafka topics: make them, look at them.", no_args_is_help=True)


@topics_app.command("create")
def create(*, config: Config = None) -> int:
    """Make the Kafka topics that are missing, with their policies. One that is there is never changed.

    Exit code 1 when one was refused, 2 when one that is there is not as it should be; each says what to do.

    Example: sendtrace topics create
    """
    settings = with_brokers(settings_of(config), config)
    looked = look(settings)
    missing = [each for each in looked if each.found is None]
    made = _make(settings, missing)
    if missing:
        looked = look(settings)
    for each in looked:
        _tell(each, made)
    if made.refused:
        return TROUBLE
    return WRONG_USE if any(each.differences for each in looked) else OK


def _make(settings: Settings, missing: list[Looked]) -> Made:
    if not missing:
        return Made(frozenset(), {})
    from sendtrace.kafka_admin import create_topics  # noqa: PLC0415  brings aiokafka, which other commands do without

    return create_topics(settings.kafka.bootstrap_servers, [each.expected for each in missing])


def _tell(each: Looked, made: Made) -> None:
    name = each.expected.name
    if name in made.refused:
        say(f"refused  {name}: {safe(made.refused[name])}")
    for difference in each.differences:
        say(f"differs  {name}: {safe(str(difference))}")
    if name not in made.refused and not each.differences:
        word = "created" if name in made.created else "there  "
        # A broker that has not heard of it yet will have it as it was asked for.
        say(f"{word}  {name}: {safe(described(each.found or as_made(each.expected)))}")


@topics_app.command("show")
def show(*, config: Config = None) -> None:
    """List the Kafka topics there should be, what the brokers have of them, and what differs.

    Example: sendtrace topics show
    """
    show_grid(Grid(_COLUMNS, [_row(each) for each in look(with_brokers(settings_of(config), config))]))


def _row(each: Looked) -> tuple[Cell, ...]:
    if each.found is None:
        return (Cell(each.expected.name), *[Cell(NONE)] * 3, Cell("missing", "red"))
    wrong = ", ".join(difference.what for difference in each.differences)
    return (
        Cell(each.expected.name),
        Cell(str(each.found.partitions)),
        Cell(str(each.found.replicas)),
        Cell(policy_text(each.found)),
        Cell(f"differs: {wrong}", "red") if wrong else Cell("as it should be", "green"),
    )


def look(settings: Settings) -> list[Looked]:
    """Each topic that has a use beside what the brokers have. Raises `BrokerError`."""
    from sendtrace.kafka_admin import find_topics  # noqa: PLC0415  brings aiokafka, which other commands do without

    kafka = settings.kafka
    expected = expected_topics(kafka, body_bytes=settings.gateway.limits.body_bytes)
    found = find_topics(kafka.bootstrap_servers, [topic.name for topic in expected])
    return compare(expected, found, broker=kafka.bootstrap_servers[0])


def with_brokers(settings: Settings, config: Config) -> Settings:
    """The same settings. Raises `SettingsError` when they name no broker."""
    if not settings.kafka.bootstrap_servers:
        where = config_file(config, None) or BROKERS_VARIABLE
        raise SettingsError(
            f"{where}: kafka.bootstrap_servers: is empty, expected the host:port of a broker; add it, or set"
            f" {BROKERS_VARIABLE}"
        )
    return settings
