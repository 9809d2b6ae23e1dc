"""Which tables a process works on: Postgres where `[tables] postgres` names one, else SQLite in the data directory."""

from __future__ import annotations

from typing import Final

from schemas.personal import Digests
from schemas.times import iso_ms
from sendtrace.data_paths import DataPaths
from sendtrace.erasure_file import add_to_list, read_list
from sendtrace.personal_keys import keys_of, secret_on_kafka
from sendtrace.settings import Settings
from sinks.tables.changes import Retention, TablesWriter
from sinks.tables.incident_orders import IncidentOrders
from sinks.tables.incident_tables import IncidentTables
from sinks.tables.sqlite_incident_orders import SqliteIncidentOrders
from sinks.tables.sqlite_incidents import open_sqlite_incidents
from sinks.tables.sqlite_reader import SqliteReader
from sinks.tables.sqlite_sink import SqliteSink
from sinks.tables.tables_reader import TablesReader

_DAY_MS: Final = 86_400_000


def postgres_of(settings: Settings) -> str | None:
    """The URL of the Postgres with the tables, password included; `None` where they are in SQLite."""
    url = settings.tables.postgres
    return None if url is None else url.get_secret_value()


def is_on_kafka(settings: Settings) -> bool:
    """Whether what is to be read comes from the roles on Kafka, and not from `sendtrace up`.

    A data directory with a raw log in it is one of `sendtrace up`, and is read as such whatever else is
    set. Any other is, once `kafka.bootstrap_servers` or `tables.postgres` is set: then the tables are
    where the sink writes them, and bodies are on the raw topic.
    """
    if DataPaths(settings.storage.directory).raw.is_dir():
        return False
    return bool(settings.kafka.bootstrap_servers) or postgres_of(settings) is not None


def retention_of(settings: Settings, now_ms: int) -> Retention:
    """What the tables sink is to delete now."""

    def before(days: int) -> str:
        return iso_ms(now_ms - days * _DAY_MS)

    return Retention(before(settings.storage.dead_retention_days), before(settings.tables.transitions_retention_days))


def digests_on_kafka(settings: Settings) -> Digests | None:
    """What the list of erasures is kept under; `None` without a key in the settings."""
    return keys_of("off", secret_on_kafka(settings)).digests


def open_tables_writer(settings: Settings) -> TablesWriter:
    """The writer of the tables sink; of SQLite only under the data directory's `processor_lock`.

    Raises `sqlite3.Error`, `TablesError`, and `MigrationError` where this release cannot write them.
    """
    url = postgres_of(settings)
    if url is None:
        paths = DataPaths(settings.storage.directory)
        return _held_to_file(SqliteSink(paths.tables, digests_on_kafka(settings)), paths)
    from sinks.tables.postgres_writer import PostgresTables  # noqa: PLC0415  psycopg, for those who have a Postgres

    digests = digests_on_kafka(settings)
    # Waiting would hold up a stop; the sink tries again by itself.
    return PostgresTables(url, wait=False, digests=digests)


def _held_to_file(sink: SqliteSink, paths: DataPaths) -> SqliteSink:
    """The list of what was erased outlives the tables."""
    try:
        sink.add_erasures(read_list(paths.erasures))
        add_to_list(paths.erasures, sink.erasures())
    except BaseException:
        sink.close()
        raise
    return sink


def open_tables_reader(settings: Settings) -> TablesReader:
    """The reader of the same tables. Raises what its methods raise, when it connects at once."""
    url = postgres_of(settings)
    if url is None:
        return SqliteReader(DataPaths(settings.storage.directory).tables, digests_on_kafka(settings))
    from sinks.tables.postgres_reader import PostgresReader  # noqa: PLC0415  as above

    return PostgresReader(url, digests_on_kafka(settings))


def open_incident_orders(settings: Settings) -> IncidentOrders:
    """Where people's orders to incidents of the same tables go; it connects when it is given one."""
    url = postgres_of(settings)
    if url is None:
        return SqliteIncidentOrders(DataPaths(settings.storage.directory).tables)
    from sinks.tables.postgres_incident_orders import PostgresIncidentOrders  # noqa: PLC0415  as above

    return PostgresIncidentOrders(url)


def open_incident_tables(settings: Settings) -> IncidentTables:
    """Those the incidents role works on; of SQLite only under the data directory's `incidents_lock`.

    Raises `sqlite3.Error`, `TablesError`, and `MigrationError` where this release cannot work on them.
    """
    url = postgres_of(settings)
    if url is None:
        return open_sqlite_incidents(DataPaths(settings.storage.directory).tables, digests_on_kafka(settings))
    from sinks.tables.postgres_incidents import PostgresIncidents  # noqa: PLC0415  as above

    return PostgresIncidents(url, digests_on_kafka(settings))
