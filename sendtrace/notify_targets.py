"""From the settings of targets to targets that work, and what of these settings only the whole program can judge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from sendtrace.settings import Settings, SettingsError
from sendtrace.settings_faults import key_text, unknown_word
from sendtrace.settings_notifications import NotificationsSettings, TargetSettings
from sinks.notifications.routing import Labels
from sinks.notifications.words import Links

if TYPE_CHECKING:
    from sinks.notifications.engine import Target
    from sinks.notifications.targets.channel import Channel

_HOUR_MS: Final = 3_600_000
_LOOPBACK: Final = "http://127.0.0.1"


def base_url_of(settings: Settings) -> str:
    """Where people reach the admin surface: as set, else on this machine."""
    return settings.notifications.base_url or loopback_url(settings.admin.port)


def loopback_url(admin_port: int) -> str:
    """The admin surface on this machine."""
    return f"{_LOOPBACK}:{admin_port}"


def check_labels(settings: Settings, classes: Collection[str]) -> None:
    """Raises `SettingsError` with the lines of `faults_of_labels`."""
    faults = faults_of_labels(settings, classes)
    if faults:
        raise SettingsError(*faults)


def faults_of_labels(settings: Settings, classes: Collection[str]) -> list[str]:
    """A line for every source and class of a target that does not exist.

    Sources are only judged where the settings have any: the roles behind Kafka need none.
    """
    faults = []
    for name, target in settings.notifications.targets.items():
        known: Mapping[str, tuple[Collection[str], Collection[str]]] = {
            "sources": (target.when.sources if settings.sources else (), settings.sources),
            "classes": (target.when.classes, classes),
        }
        for label, (given, there) in known.items():
            key = key_text(("notifications", "targets", name, "when", label))
            faults += [
                f"{key}: there is no {word!r}; {unknown_word(word, there)}" for word in given if word not in there
            ]
    return faults


def targets_of(notifications: NotificationsSettings, base_url: str) -> list[Target]:
    """Every target of the settings, by name."""
    from sinks.notifications.engine import Target  # noqa: PLC0415  its client takes longer to import than `show` runs

    links = Links(base_url)
    return [
        Target(
            name,
            Labels(each.when.severity, each.when.sources, each.when.campaigns, each.when.classes),
            channel_of(name, each, links),
            round(each.give_up_after_hours * _HOUR_MS),
        )
        for name, each in notifications.targets.items()
    ]


def channel_of(name: str, target: TargetSettings, links: Links) -> Channel:
    """What sends to it."""
    from sinks.notifications.guarded_http import Transport  # noqa: PLC0415  as above
    from sinks.notifications.targets.alertmanager import Alertmanager  # noqa: PLC0415  as above
    from sinks.notifications.targets.apprise_service import AppriseTarget  # noqa: PLC0415  as above
    from sinks.notifications.targets.pagerduty import URL, PagerDuty  # noqa: PLC0415  as above
    from sinks.notifications.targets.webhook import Webhook  # noqa: PLC0415  as above

    url = target.url.get_secret_value() if target.url else ""
    token = target.bearer_token.get_secret_value() if target.bearer_token else None
    if target.kind == "apprise":
        return AppriseTarget(url=url, policy=target.policy(), timeout_s=target.timeout_s, links=links)
    ca_file = None if target.ca_file is None else str(target.ca_file)
    transport = Transport(target.policy(), timeout_s=target.timeout_s, ca_file=ca_file)
    if target.kind == "webhook":
        secrets = [secret.get_secret_value() for secret in target.secrets]
        return Webhook(url=url, secrets=secrets, bearer_token=token, transport=transport, links=links)
    if target.kind == "alertmanager":
        return Alertmanager(url=url, bearer_token=token, transport=transport, links=links)
    key = target.routing_key.get_secret_value() if target.routing_key else ""
    return PagerDuty(name=name, url=url or URL, routing_key=key, transport=transport, links=links)
