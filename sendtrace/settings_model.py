"""Every setting with its default, its bounds and what is expected there, in one frozen model.

Refuses to hold a setting that nothing reads, and to show a secret in a dump. Where the values come
from is `sendtrace.settings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Self, cast, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from ingest.addresses import networks
from ingest.auth import Source
from ingest.limits import Limits
from ingest.segments import MAX_FRAME_BYTES, MAX_META_BYTES, PREFIX_BYTES
from ingest.signatures import secret_bytes
from sendtrace.settings_incidents import IncidentsSettings
from sendtrace.settings_kafka import KafkaSettings
from sendtrace.settings_notifications import NotificationsSettings
from sendtrace.settings_parquet import ParquetSettings
from sendtrace.settings_personal import PersonalSettings
from sendtrace.settings_table import SettingsTable, listed
from sendtrace.settings_tables import TablesSettings

ENV_PREFIX: Final = "SENDTRACE_"
ENV_NESTING: Final = "__"
MASK: Final = "***"
#: The one variable that needs no table: every role takes the addresses of the brokers from it (design §8).
BROKERS_VARIABLE: Final = "SENDTRACE_KAFKA"
BROKERS_KEYS: Final = ("kafka", "bootstrap_servers")

_SOURCE_NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_MIB: Final = 1024 * 1024
_MOST_BODY_BYTES: Final = MAX_FRAME_BYTES - MAX_META_BYTES - PREFIX_BYTES


def _cidr(text: str) -> str:
    networks((text,))
    return text


def _signing_secret(secret: SecretStr) -> SecretStr:
    secret_bytes(secret.get_secret_value())
    return secret


def _file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise ValueError("there is no such file")
    return path


Port = Annotated[int, Field(ge=0, le=65_535)]
Days = Annotated[int, Field(ge=1, le=3_650)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]
Host = Annotated[str, StringConstraints(pattern=r"^[^\s/]{1,255}$")]
TokenDigest = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
Cidr = Annotated[str, AfterValidator(_cidr)]
SigningSecret = Annotated[SecretStr, AfterValidator(_signing_secret)]

_PORT: Final = "a port from 1 to 65535, or 0 for any that is free"
_HOST: Final = "an address or name to listen on, such as 127.0.0.1"
_CIDRS: Final = "a list of addresses or networks, such as 203.0.113.0/24, bits past the prefix zero"
_DAYS: Final = "a whole number of days from 1 to 3650"


class SourceSettings(SettingsTable):
    """`[sources.NAME]`: who may post, under which tokens, and what it must show besides."""

    provider: Text = Field(description="the name of a provider, such as braze")
    token_sha256: Annotated[tuple[TokenDigest, ...], BeforeValidator(listed)] = Field(
        min_length=1,
        max_length=10,
        description="a list of 1 to 10 SHA-256 digests, each the 64 hex digits of a token's text",
        # Not a secret, but what is wrongly put here may be the token itself.
        json_schema_extra={"secret": True},
    )
    basic_user: Annotated[str, StringConstraints(pattern=r"^[^:]+$")] | None = Field(
        default=None, description="a user name without a colon"
    )
    basic_password: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="a password that is not empty"
    )
    hmac_secrets: Annotated[tuple[SigningSecret, ...], BeforeValidator(listed)] = Field(
        default=(),
        max_length=10,
        description="a list of up to 10 signing secrets of 16 bytes or more, as text or as whsec_ and base64",
    )
    allow_addresses: Annotated[tuple[Cidr, ...], BeforeValidator(listed)] = Field(default=(), description=_CIDRS)

    @model_validator(mode="after")
    def _user_with_password(self) -> Self:
        if (self.basic_user is None) != (self.basic_password is None):
            raise ValueError("has one of basic_user and basic_password, expected both or neither; add the other")
        return self

    def as_source(self, name: str) -> Source:
        """What the gateway's gatekeeper is made of."""
        return Source(
            name=name,
            provider=self.provider,
            token_sha256=self.token_sha256,
            basic_user=self.basic_user,
            basic_password=self.basic_password.get_secret_value() if self.basic_password else None,
            hmac_secrets=tuple(secret.get_secret_value() for secret in self.hmac_secrets),
            allow_addresses=self.allow_addresses,
        )


class GatewaySettings(SettingsTable):
    """`[gateway]`: where postbacks arrive; `[gateway.limits]` is `ingest.limits.Limits` itself."""

    host: Host = Field(default="127.0.0.1", description=_HOST)
    port: Port = Field(default=8080, description=_PORT)
    trusted_proxies: Annotated[tuple[Cidr, ...], BeforeValidator(listed)] = Field(default=(), description=_CIDRS)
    limits: Limits = Field(default=Limits(), description="a table of limits, each a number above 0")

    @model_validator(mode="after")
    def _a_body_fits(self) -> Self:
        limits = self.limits
        if limits.body_bytes > _MOST_BODY_BYTES:
            raise ValueError(
                f"limits.body_bytes is {limits.body_bytes}, expected at most {_MOST_BODY_BYTES}, what the raw log"
                " holds in one frame; lower it"
            )
        for name in ("in_flight_bytes", "partial_bytes"):
            if getattr(limits, name) < limits.body_bytes:
                raise ValueError(
                    f"limits.{name} is less than limits.body_bytes ({limits.body_bytes}), so a body that is allowed"
                    " could never be kept; raise the one or lower the other"
                )
        return self


class AdminSettings(SettingsTable):
    """`[admin]`: health, metrics, read API and page. Without credentials on loopback only."""

    host: Host = Field(default="127.0.0.1", description=_HOST)
    port: Port = Field(default=8081, description=_PORT)
    token: Annotated[SecretStr, Field(min_length=1)] | None = Field(
        default=None, description="a secret text that is not empty"
    )

    @model_validator(mode="after")
    def _open_to_others_only_with_token(self) -> Self:
        if self.token is None and not _is_loopback(self.host):
            raise ValueError(
                f"listens on {self.host}, which others can reach, without a token; set admin.token, or"
                ' admin.host = "127.0.0.1"'
            )
        return self


class StorageSettings(SettingsTable):
    """`[storage]`: what is kept on this machine and for how long. Paths start where the program is started."""

    directory: Path = Field(default=Path("sendtrace-data"), description="a directory; it is made when missing")
    raw_segment_bytes: int = Field(
        default=64 * _MIB,
        ge=_MIB,
        le=1024 * _MIB,
        description=f"a number of bytes from {_MIB} (1 MiB) to {1024 * _MIB} (1 GiB)",
    )
    raw_retention_days: Days = Field(default=30, description=_DAYS)
    dead_retention_days: Days = Field(default=90, description=_DAYS)


class ClassifierSettings(SettingsTable):
    """`[classifier]`: how failures are put into classes."""

    rules: Annotated[Path | None, AfterValidator(_file)] = Field(
        default=None, description="the path of a file of rules that goes before the built-in ones"
    )


SourceName = Annotated[str, StringConstraints(pattern=_SOURCE_NAME)]


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTING,
        env_ignore_empty=True,  # compose files write `${NAME:-}` for what is not set
    )

    #: Empty is for the roles that take no postbacks; `load` asks for one where it must.
    sources: dict[SourceName, SourceSettings] = Field(
        default_factory=dict,
        description="at least one table [sources.NAME], NAME of a-z, 0-9, - and _, at most 63 long",
    )
    gateway: GatewaySettings = Field(default_factory=GatewaySettings, description="a table")
    admin: AdminSettings = Field(default_factory=AdminSettings, description="a table")
    storage: StorageSettings = Field(default_factory=StorageSettings, description="a table")
    classifier: ClassifierSettings = Field(default_factory=ClassifierSettings, description="a table")
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="a table")
    tables: TablesSettings = Field(default_factory=TablesSettings, description="a table")
    incidents: IncidentsSettings = Field(default_factory=IncidentsSettings, description="a table")
    notifications: NotificationsSettings = Field(default_factory=NotificationsSettings, description="a table")
    personal: PersonalSettings = Field(default_factory=PersonalSettings, description="a table")
    parquet: ParquetSettings = Field(default_factory=ParquetSettings, description="a table")

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `sendtrace.settings.load` merged, because an error has to say which layer a value came from."""
        return (init_settings,)

    @model_validator(mode="after")
    def _tokens_name_one_source(self) -> Self:
        owners: dict[str, str] = {}
        for name, source in self.sources.items():
            for digest in source.token_sha256:
                if owners.setdefault(digest, name) != name:
                    raise ValueError(
                        f"sources.{name}.token_sha256 shares a token with sources.{owners[digest]}, expected each"
                        f" token in one source; run `sendtrace token rotate {name}` and retire the shared one"
                    )
        return self

    def gateway_sources(self) -> tuple[Source, ...]:
        """The sources as the gateway takes them."""
        return tuple(source.as_source(name) for name, source in self.sources.items())

    def masked(self) -> dict[str, object]:
        """Every setting in force as plain JSON values, secrets as `***`. Derived, so that no key is forgotten."""
        return cast(dict[str, object], _masked(self.model_dump()))


def leaf_keys(model: type[BaseModel] = Settings) -> Iterator[tuple[str, ...]]:
    """Every key that holds a value, `NAME` standing for any name: what examples and docs must show."""
    for name, field in model.model_fields.items():
        node = field.annotation
        if get_origin(node) is dict:
            yield from ((name, "NAME", *rest) for rest in leaf_keys(get_args(node)[1]))
        elif isinstance(node, type) and issubclass(node, BaseModel):
            yield from ((name, *rest) for rest in leaf_keys(node))
        elif isinstance(node, type) and is_dataclass(node):
            yield from ((name, limit.name) for limit in fields(node))
        else:
            yield (name,)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _masked(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_masked(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
