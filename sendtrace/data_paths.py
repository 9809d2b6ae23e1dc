"""What lies where in a data directory, so that every command looks in the same places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataPaths:
    """The files of one embedded sendtrace below `directory`."""

    directory: Path

    @property
    def raw(self) -> Path:
        """The raw log's segment files."""
        return self.directory / "raw"

    @property
    def spool(self) -> Path:
        """What a gateway on Kafka could not send yet."""
        return self.directory / "spool"

    @property
    def worker(self) -> Path:
        """The state of a worker on Kafka, a folder for each of its processes; a cache that can be rebuilt."""
        return self.directory / "worker"

    @property
    def parquet(self) -> Path:
        """Where files are made before they go to S3; nothing in it is missed."""
        return self.directory / "parquet"

    @property
    def tables(self) -> Path:
        """The SQLite file with the tables, the state and the processed position."""
        return self.directory / "tables.db"

    @property
    def personal_key(self) -> Path:
        """The key of personal data, where the settings have none."""
        return self.directory / "personal.key"

    @property
    def erasures(self) -> Path:
        """The list of what was erased, which outlives the tables."""
        return self.directory / "erasures.jsonl"

    @property
    def processor_lock(self) -> Path:
        """Held by whoever writes the tables."""
        return self.directory / "processor.lock"

    @property
    def incidents_lock(self) -> Path:
        """Held by whoever computes incidents into the tables that a tables sink writes."""
        return self.directory / "incidents.lock"

    @property
    def notifications_lock(self) -> Path:
        """Held by whoever tells people of incidents."""
        return self.directory / "notifications.lock"

    @property
    def attempt(self) -> Path:
        """Which record was in hand, while the processor goes carefully after a crash."""
        return self.directory / "processor.attempt"
