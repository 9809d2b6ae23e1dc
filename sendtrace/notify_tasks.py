"""What `sendtrace up` tells its process of notifications, and what that answers: lines of JSON on two pipes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import SecretStr

from sendtrace.notify_reports import NotifyReport
from sendtrace.settings_notifications import NotificationsSettings


@dataclass(frozen=True, slots=True)
class NotifyTask:
    """What the process is told, as one line of JSON. `since_ms` is when `sendtrace up` started."""

    directory: str
    base_url: str
    notifications: NotificationsSettings
    since_ms: int

    def line(self) -> bytes:
        """With the secrets in the open: only for a pipe."""
        settings = _open(self.notifications.model_dump())
        return json.dumps([self.directory, self.base_url, settings, self.since_ms]).encode() + b"\n"


def _open(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _open(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_open(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def task_of(line: bytes) -> NotifyTask:
    """The inverse of `NotifyTask.line`."""
    directory, base_url, settings, since_ms = json.loads(line)
    return NotifyTask(directory, base_url, NotificationsSettings.model_validate(settings), since_ms)


def report_of_line(line: bytes) -> NotifyReport:
    """What the process wrote."""
    return cast(NotifyReport, json.loads(line))
