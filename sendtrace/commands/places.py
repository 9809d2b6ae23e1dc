"""Where a command reads: an embedded data directory, or the tables and the raw topic of the roles on Kafka.

The rule. A data directory with a raw log (`raw/`) is one of `sendtrace up`, and is read as such whatever the
settings say. Otherwise settings with `kafka.bootstrap_servers` or `tables.postgres` mean Kafka: tables in
Postgres if that is named, else `tables.db` in the data directory; bodies and what is pending on the raw topic.
Without such settings it is an embedded data directory, whose tables must be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.personal import Digests
from sendtrace.commands.common import TroubleError, config_file, data_of, log_of, settings_of
from sendtrace.data_paths import DataPaths
from sendtrace.personal_keys import NO_KEYS, PersonalKeys, keys_of, secret_embedded
from sendtrace.read_side import LogView, RawTopic
from sendtrace.settings import Settings
from sendtrace.tables_store import is_on_kafka, open_incident_orders, open_tables_reader, postgres_of
from sinks.tables.incident_orders import IncidentOrders
from sinks.tables.sqlite_incident_orders import SqliteIncidentOrders
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.tables_reader import TablesReader


@dataclass(frozen=True, slots=True)
class Place:
    """Tables and raw log to read. `settings` are those of the roles on Kafka, `None` for an embedded directory.

    `digests` are what the list of erasures of an embedded directory is kept under.
    """

    paths: DataPaths
    settings: Settings | None
    digests: Digests | None = None

    def open_reader(self) -> TablesReader:
        """The tables; the caller closes it."""
        if self.settings is None:
            return SqliteReader(self.paths.tables, self.digests)
        return open_tables_reader(self.settings)

    def orders(self) -> IncidentOrders:
        """Where people's orders to incidents go: the same tables."""
        return SqliteIncidentOrders(self.paths.tables) if self.settings is None else open_incident_orders(self.settings)

    def open_log(self) -> LogView | RawTopic:
        """The raw log or the raw topic; the caller closes it."""
        if self.settings is None:
            return log_of(self.paths)
        from sendtrace.kafka_log_view import KafkaLogView  # noqa: PLC0415  the client, for those who have a broker

        return KafkaLogView(self.settings.kafka.bootstrap_servers, self.settings.kafka.topic_prefix)


def place_of(config: Path | None, data: Path | None) -> Place:
    """By the rule above. Raises `SettingsError`, and `TroubleError` where there are no tables yet."""
    settings = None if data is not None and DataPaths(data).raw.is_dir() else settings_if_any(config, data)
    if settings is None or not is_on_kafka(settings):
        paths = data_of(config, data)
        return Place(paths, None, embedded_keys(paths, config, data, make=False).digests)
    paths = DataPaths(settings.storage.directory)
    if postgres_of(settings) is None and not paths.tables.is_file():
        raise TroubleError(
            f"{paths.directory}: holds no tables of sendtrace; run `sendtrace sink tables` with this directory first,"
            " or name another with --data"
        )
    return Place(paths, settings)


def embedded_keys(paths: DataPaths, config: Path | None, data: Path | None, *, make: bool) -> PersonalKeys:
    """The keys of an embedded data directory; without `make` only where something was erased, for nobody else asks.

    Raises what `secret_embedded` raises, and `SettingsError`.
    """
    if not make and not paths.erasures.is_file():
        return NO_KEYS
    settings = settings_if_any(config, data)
    mode = "hashed" if settings is None else settings.personal.mode
    return keys_of(mode, secret_embedded(paths, settings, make=make))


def settings_if_any(config: Path | None, data: Path | None) -> Settings | None:
    """The settings there are; `None` without any, which a data directory alone does not need."""
    file = config_file(config, data)
    if config is None and file is not None and not file.is_file():
        return None
    return settings_of(config, data=data)
