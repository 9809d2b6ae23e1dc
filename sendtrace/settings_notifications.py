"""`[notifications]`: who is told of incidents, and where. Refuses a target that could never be told anything."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from schemas.incidents import Severity
from sendtrace.settings_table import SettingsTable, listed
from sinks.notifications.guard import GuardError, Policy, check_url

Kind = Literal["webhook", "alertmanager", "pagerduty", "apprise"]
Scheme = Literal["https", "http"]

_NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_MOST_TARGETS: Final = 20
_MOST_LABELS: Final = 1_000
_SECRET_BYTES: Final = (24, 64)  # what the form asks for
_MARK: Final = "whsec_"
#: What each kind must have beside its own defaults, and what it has no use for.
_NEEDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "webhook": ("url", "secrets"),
    "alertmanager": ("url",),
    "pagerduty": ("routing_key",),
    "apprise": ("url",),
}
_TAKES: Final[Mapping[Kind, frozenset[str]]] = {
    "webhook": frozenset({"url", "secrets", "bearer_token", "ca_file"}),
    "alertmanager": frozenset({"url", "bearer_token", "ca_file"}),
    "pagerduty": frozenset({"url", "routing_key", "ca_file"}),
    "apprise": frozenset({"url"}),
}
_EXAMPLES: Final[Mapping[Kind, str]] = {
    "webhook": "https://HOST/PATH",
    "alertmanager": "https://HOST:9093",
    "pagerduty": "https://HOST/PATH",
    "apprise": "a URL of apprise, such as slack://A/B/C or mailtos://USER:PASSWORD@HOST",
}


def _secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    least, most = _SECRET_BYTES
    try:
        key = b64decode(text.removeprefix(_MARK), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is not base64") from None
    if not text.startswith(_MARK):
        raise ValueError("it does not begin with whsec_")
    if not least <= len(key) <= most:
        raise ValueError(f"it has {len(key)} bytes")
    return secret


def _network(text: str) -> str:
    ip_network(text)
    return text


def _base_url(text: str) -> str:
    try:
        check_url(text, Policy(("https", "http"), (ip_network("0.0.0.0/0"), ip_network("::/0"))))
    except GuardError as error:
        raise ValueError(str(error)) from None
    return text.rstrip("/")


def _file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise ValueError("there is no such file")
    return path


Text = Annotated[str, StringConstraints(min_length=1, max_length=1_024)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(listed)]
SigningSecret = Annotated[SecretStr, AfterValidator(_secret)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=4_096)]


class WhenSettings(SettingsTable):
    """`when` of a target: all of it must hold for an incident; an empty list holds for every one."""

    severity: Severity = Field(
        default="info", description="the least severity that is told: info, warning, error or critical"
    )
    sources: Texts = Field(default=(), max_length=_MOST_LABELS, description="a list of names of sources")
    campaigns: Texts = Field(default=(), max_length=_MOST_LABELS, description="a list of ids of campaigns")
    classes: Texts = Field(default=(), max_length=_MOST_LABELS, description="a list of classes, such as spam_content")


class TargetSettings(SettingsTable):
    """`[notifications.targets.NAME]`: one target. A URL is a secret, for most have a token in them."""

    kind: Kind = Field(description="webhook, alertmanager, pagerduty or apprise")
    url: Secret | None = Field(default=None, description="a URL, such as https://HOST/PATH")
    secrets: Annotated[tuple[SigningSecret, ...], BeforeValidator(listed)] = Field(
        default=(),
        max_length=10,
        description="a list of 1 to 10 signing secrets, each whsec_ and the base64 of 24 to 64 random bytes",
    )
    routing_key: Annotated[SecretStr, Field(min_length=20, max_length=64)] | None = Field(
        default=None, description="the integration key of a PagerDuty service, 32 characters"
    )
    bearer_token: Secret | None = Field(default=None, description="a secret text that is not empty")
    when: WhenSettings = Field(default_factory=WhenSettings, description="a table of labels")
    schemes: Annotated[tuple[Scheme, ...], BeforeValidator(listed)] = Field(
        default=("https",), min_length=1, max_length=2, description='a list of "https", "http" or both'
    )
    allow_networks: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(listed)] = Field(
        default=(), description="a list of addresses or networks, such as 10.1.2.0/24, bits past the prefix zero"
    )
    ca_file: Annotated[Path | None, AfterValidator(_file)] = Field(
        default=None, description="the path of a file of certificates in PEM that are trusted"
    )
    timeout_s: float = Field(default=10.0, ge=0.5, le=60.0, description="a number of seconds from 0.5 to 60")
    give_up_after_hours: float = Field(default=24.0, gt=0, le=168, description="a number of hours up to 168")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for name in _NEEDS[self.kind]:
            if not getattr(self, name):
                expected = _EXAMPLES[self.kind] if name == "url" else type(self).model_fields[name].description
                raise ValueError(f"{name} is missing, expected {expected} for kind {self.kind}; add it")
        for name in ("url", "secrets", "routing_key", "bearer_token", "ca_file"):
            if getattr(self, name) and name not in _TAKES[self.kind]:
                raise ValueError(f"{name} is of no use to kind {self.kind}; leave it out")
        return self

    @model_validator(mode="after")
    def _url_may_be_gone_to(self) -> Self:
        if self.url is None:
            return self
        url = self.url.get_secret_value()
        if self.kind == "apprise":
            if "://" not in url:
                raise ValueError(f"url is not one, expected {_EXAMPLES['apprise']}; correct it")
            return self
        try:
            check_url(url, self.policy())
        except GuardError as error:
            raise ValueError(
                f"url cannot be used: {error}; correct it, or allow it with schemes or allow_networks"
            ) from None
        return self

    def policy(self) -> Policy:
        """What is allowed beyond https to everybody's addresses."""
        return Policy(self.schemes, tuple(ip_network(text) for text in self.allow_networks))


class NotificationsSettings(SettingsTable):
    """`[notifications]`: without targets nobody is told."""

    base_url: Annotated[str, AfterValidator(_base_url)] | None = Field(
        default=None,
        description="the URL of the admin surface as people reach it, such as https://sendtrace.example.com",
    )
    targets: dict[Annotated[str, StringConstraints(pattern=_NAME)], TargetSettings] = Field(
        default_factory=dict,
        max_length=_MOST_TARGETS,
        description=f"up to {_MOST_TARGETS} tables [notifications.targets.NAME], NAME of a-z, 0-9, - and _",
    )
