"""docs/notifications.md: its settings load, its program holds what is sent to the signature."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from sendtrace.clock import SystemClock
from sendtrace.settings import load
from sinks.notifications.sample import sample_messages
from sinks.notifications.targets.webhook import SHAPE, body_of, signed_headers
from sinks.notifications.words import Links
from tests.unit.project_tree import ROOT

PAGE = (ROOT / "docs" / "notifications.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SETTINGS = [block for kind, block in BLOCKS if kind == "toml"]
(PROGRAM,) = [block for kind, block in BLOCKS if kind == "python"]
SECRET = "whsec_" + "A" * 43 + "="


def test_its_settings_load_as_one_file(tmp_path: Path) -> None:
    file = tmp_path / "sendtrace.toml"
    file.write_text("".join(SETTINGS), encoding="utf-8")

    targets = load(file, takes_postbacks=False).notifications.targets

    assert {name: each.kind for name, each in targets.items()} == {
        "ops": "webhook",
        "alerts": "alertmanager",
        "pager": "pagerduty",
        "chat": "apprise",
    }


def test_its_program_takes_what_is_signed_and_nothing_else() -> None:
    scope: dict[str, Callable[[bytes, dict[str, str]], list[dict[str, object]]]] = {}
    exec(PROGRAM, scope)  # noqa: S102  a block of our own page
    now_ms = SystemClock().now_ms()
    ((_, message),) = sample_messages("ops", SHAPE, now_ms)
    body = body_of(message, Links("http://127.0.0.1:8081"))
    headers = dict(signed_headers(message.message_id, body, now_ms, [SECRET]))

    (change,) = scope["incident_changes"](body, headers)

    assert change["change"] == "opened"
    with pytest.raises(WebhookVerificationError):
        scope["incident_changes"](body + b" ", headers)
