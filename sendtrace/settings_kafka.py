"""`[kafka]`: where the brokers are, and how the topics of the catalogue are made on them.

Refuses what could never work: fewer replicas than must be in sync would make every write fail. There
is no setting for TLS or SASL, because nothing connects with them.
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from schemas.topics import DEFAULT_PREFIX
from sendtrace.settings_table import SettingsTable, listed

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
_MOST_PORT: Final = 65_535
_MOST_BROKERS: Final = 100
_MOST_PARTITIONS: Final = 1_000
_MOST_REPLICAS: Final = 100

_ADDRESS: Final = r"^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$"
#: What Kafka takes in a topic's name, and short enough for every name of the catalogue behind it (249 in all).
_PREFIX: Final = r"^[A-Za-z0-9._-]{0,200}$"


def _address(text: str) -> str:
    if not 0 < int(text.rpartition(":")[2]) <= _MOST_PORT:
        raise ValueError(f"its port is not from 1 to {_MOST_PORT}")
    return text


Address = Annotated[str, StringConstraints(pattern=_ADDRESS), AfterValidator(_address)]


class KafkaSettings(SettingsTable):
    """`[kafka]`: without `bootstrap_servers` everything stays on this machine, and the other keys are not looked at."""

    bootstrap_servers: Annotated[tuple[Address, ...], BeforeValidator(listed)] = Field(
        default=(),
        max_length=_MOST_BROKERS,
        description=f"a list of up to {_MOST_BROKERS} addresses host:port, such as kafka1:9092",
    )
    topic_prefix: Annotated[str, StringConstraints(pattern=_PREFIX)] = Field(
        default=DEFAULT_PREFIX, description="up to 200 letters, digits, dots, underscores and hyphens"
    )
    partitions: int = Field(
        default=6, ge=1, le=_MOST_PARTITIONS, description=f"a whole number from 1 to {_MOST_PARTITIONS}"
    )
    replication_factor: int = Field(
        default=3, ge=1, le=_MOST_REPLICAS, description=f"a whole number from 1 to {_MOST_REPLICAS}"
    )
    min_insync_replicas: int = Field(
        default=2, ge=1, le=_MOST_REPLICAS, description=f"a whole number from 1 to {_MOST_REPLICAS}"
    )

    spool_bytes: int = Field(
        default=_GIB,
        ge=_MIB,
        le=1024 * _GIB,
        description=f"a number of bytes from {_MIB} (1 MiB) to {1024 * _GIB} (1 TiB)",
    )

    @model_validator(mode="after")
    def _enough_replicas_can_be_in_sync(self) -> Self:
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"min_insync_replicas is {self.min_insync_replicas}, expected at most replication_factor"
                f" ({self.replication_factor}), else nothing could be written; lower the one or raise the other"
            )
        return self
