"""The settings of targets: one clear line for each fault, and no secret shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sendtrace.notify_targets import base_url_of, check_labels, targets_of
from sendtrace.notify_tasks import NotifyTask, task_of
from sendtrace.settings import Settings, SettingsError, load

SECRET = "whsec_" + "A" * 43 + "="
HOOK: dict[str, Any] = {"kind": "webhook", "url": "https://hooks.example.com/x", "secrets": [SECRET]}
PAGER: dict[str, Any] = {"kind": "pagerduty", "routing_key": "0123456789abcdef0123456789abcdef"}
WHERE = "SENDTRACE_NOTIFICATIONS__TARGETS__OPS"


def settings(target: Mapping[str, object] = HOOK, **more: object) -> Settings:
    table = {"notifications": {"targets": {"ops": dict(target)}}, **more}
    return load(None, overrides=table, takes_postbacks=False)


def fault(target: Mapping[str, object]) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(target)
    assert len(caught.value.faults) == 1
    return caught.value.faults[0]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({**HOOK, "kind": "email"}, 'ops.kind: got "email", expected webhook, alertmanager, pagerduty or apprise'),
        (
            {"url": "https://a.example.com"},
            "ops.kind: is missing, expected webhook, alertmanager, pagerduty or apprise",
        ),
        (
            {"kind": "webhook", "secrets": [SECRET]},
            "ops.url is missing, expected https://HOST/PATH for kind webhook; add it",
        ),
        ({"kind": "alertmanager"}, "ops.url is missing, expected https://HOST:9093 for kind alertmanager; add it"),
        ({"kind": "pagerduty"}, "ops.routing_key is missing, expected the integration key of a PagerDuty service"),
        ({"kind": "apprise"}, "ops.url is missing, expected a URL of apprise, such as slack://"),
        ({**HOOK, "secrets": []}, "ops.secrets is missing, expected a list of 1 to 10 signing secrets"),
        ({**HOOK, "secrets": ["whsec_c2hvcnQ="]}, "not shown because it may be secret (it has 5 bytes), expected"),
        ({**HOOK, "secrets": ["whsec_???"]}, "(what follows whsec_ is not base64)"),
        ({**HOOK, "secrets": ["A" * 44]}, "(it does not begin with whsec_)"),
        ({**HOOK, "url": "http://hooks.example.com/"}, "ops.url cannot be used: the url begins with http://"),
        ({**HOOK, "url": "https://127.0.0.1/"}, "127.0.0.1 is not an address for everybody (this machine)"),
        ({**HOOK, "url": "https://u:p@example.com/"}, "the url has more than a host and a port before its path"),
        ({**HOOK, "routing_key": "0" * 32}, "ops.routing_key is of no use to kind webhook; leave it out"),
        ({"kind": "apprise", "url": "slack"}, "ops.url is not one, expected a URL of apprise"),
        ({**HOOK, "schemes": ["gopher"]}, 'ops.schemes[0]: got "gopher", expected a list of "https", "http" or both'),
        ({**HOOK, "allow_networks": ["10.0.0.1/8"]}, "has host bits set"),
        ({**HOOK, "when": {"severity": "bad"}}, "the least severity that is told: info, warning, error or critical"),
        ({**HOOK, "when": {"severities": "bad"}}, "there is no such setting; did you mean severity?"),
        ({**HOOK, "timeout_s": 0}, "ops.timeout_s: got 0, expected a number of seconds from 0.5 to 60"),
        ({**HOOK, "ca_file": "none.pem"}, "(there is no such file)"),
    ],
)
def test_a_fault_is_one_line_that_says_what_to_do(target: Mapping[str, object], told: str) -> None:
    line = fault(target)

    assert told in line
    assert "notifications.targets.ops" in line
    assert not [secret for secret in (SECRET, "AAAA", "c2hvcnQ", "???", "u:p", "hooks.") if secret in line]


def test_a_name_is_a_name() -> None:
    with pytest.raises(SettingsError, match="not such a name"):
        load(None, overrides={"notifications": {"targets": {"On Call": HOOK}}}, takes_postbacks=False)


def test_two_targets_of_a_name_are_a_fault_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sendtrace.toml"
    table = '[notifications.targets.ops]\nkind = "webhook"\n'
    file.write_text(table + table)

    with pytest.raises(SettingsError, match="line 3"):
        load(file, takes_postbacks=False)


def test_a_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{WHERE}__KIND", "pagerduty")
    monkeypatch.setenv(f"{WHERE}__ROUTING_KEY", PAGER["routing_key"])
    found = load(None, takes_postbacks=False).notifications.targets["ops"]

    assert found.routing_key is not None
    assert found.routing_key.get_secret_value() == PAGER["routing_key"]


def test_no_secret_is_in_a_dump() -> None:
    shown = str([settings({**HOOK, "bearer_token": "geheim"}).masked(), settings(PAGER).masked(), settings()])

    assert not [secret for secret in (SECRET, "hooks.example.com", "geheim", PAGER["routing_key"]) if secret in shown]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"classes": ["spam"]}, "notifications.targets.ops.when.classes: there is no 'spam'; there are block_list,"),
        ({"sources": ["brase"]}, "notifications.targets.ops.when.sources: there is no 'brase'; did you mean braze?"),
    ],
)
def test_labels_that_nothing_has_are_told(when: Mapping[str, object], told: str) -> None:
    source = {"braze": {"provider": "braze", "token_sha256": ["0" * 64]}}
    found = settings({**HOOK, "when": when}, sources=source)

    with pytest.raises(SettingsError) as caught:
        check_labels(found, ["spam_content", "block_list"])
    assert caught.value.faults[0].startswith(told)


def test_a_process_is_told_all_of_it() -> None:
    task = NotifyTask("d", "http://127.0.0.1:1", settings({**HOOK, "allow_networks": ["10.0.0.0/8"]}).notifications, 7)

    assert task_of(task.line()) == task


def test_links_lead_to_this_machine_unless_told_otherwise() -> None:
    assert base_url_of(settings()) == "http://127.0.0.1:8081"
    table = {"notifications": {"base_url": "https://s.example.com/t/"}}
    assert base_url_of(load(None, overrides=table, takes_postbacks=False)) == "https://s.example.com/t"


def test_a_target_is_made_of_its_settings() -> None:
    (made,) = targets_of(
        settings({**PAGER, "when": {"severity": "error"}, "give_up_after_hours": 0.5}).notifications, "u"
    )

    assert (made.name, made.labels.severity, made.horizon_ms) == ("ops", "error", 1_800_000)
    assert made.channel.shape.one_by_one
