"""The manifests, without a cluster: that they fit each other, the image and the program."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import pytest

from processors.providers import discover
from sendtrace.settings import SettingsError, load
from sendtrace.web_guard import OPEN_PATHS
from tests.unit.plain_yaml import documents
from tests.unit.test_deploy import (
    DEPLOY,
    RUNTIME,
    SECRET,
    VERSION,
    image_environment,
    only_what_is_given,
    parsed,
    unknown_variables,
)

__all__ = ["only_what_is_given"]  # no variable of whoever runs the tests gets into them

FOLDER = DEPLOY / "kubernetes"
LONGEST_STOP_S = 15
KUSTOMIZATION = documents(FOLDER / "kustomization.yaml")[0]
SECRETS = {each["metadata"]["name"]: each["stringData"] for each in documents(FOLDER / "secret.example.yaml")}
OBJECTS: list[dict[str, Any]] = [each for name in KUSTOMIZATION["resources"] for each in documents(FOLDER / name)]
CONFIGS = {each["metadata"]["name"]: each["data"] for each in OBJECTS if each["kind"] == "ConfigMap"}
CONFIG = CONFIGS["sendtrace"]
FILLED_IN = {
    "SENDTRACE_ADMIN__TOKEN": "a long random text",
    "SENDTRACE_SOURCES__BRAZE__TOKEN_SHA256": "1" * 64,
    "SENDTRACE_SOURCES__NRS360__TOKEN_SHA256": "2" * 64,
    "SENDTRACE_TABLES__POSTGRES": "postgresql://u:p@h:5432/d",
    "SENDTRACE_PERSONAL__KEY": "a long random text of 32 characters or more",
    "SENDTRACE_NOTIFICATIONS__TARGETS__OPS__URL": "https://hooks.example.com/x",
    "SENDTRACE_NOTIFICATIONS__TARGETS__OPS__SECRETS": f"whsec_{'A' * 43}=",
}


class Workload(NamedTuple):
    """What makes pods, and its one container."""

    name: str
    kind: str
    spec: dict[str, Any]
    pod: dict[str, Any]
    container: dict[str, Any]


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] in kinds]


def workload(found: dict[str, Any]) -> Workload:
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return Workload(found["metadata"]["name"], found["kind"], found["spec"], pod, container)


ALL = [workload(found) for found in of_kind("Job", "StatefulSet", "Deployment")]
ROLES = [each for each in ALL if each.kind != "Job"]
each_of_all = pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
each_role = pytest.mark.parametrize("each", ROLES, ids=lambda each: each.name)


def test_every_manifest_is_applied_but_the_example_of_secrets() -> None:
    files = {path.name for path in FOLDER.iterdir()}

    assert files - {*KUSTOMIZATION["resources"]} == {"kustomization.yaml", "secret.example.yaml"}
    assert {each["metadata"].get("namespace", "sendtrace") for each in OBJECTS} == {KUSTOMIZATION["namespace"]}


def test_every_role_on_kafka_runs() -> None:
    commands = {each.name: parsed(each.container["args"]) for each in ALL}

    assert commands == {
        "topics": "sendtrace topics create",
        "gateway": "sendtrace gateway",
        "worker": "sendtrace worker",
        "sink": "sendtrace sink tables",
        "incidents": "sendtrace sink incidents",
        "notifications": "sendtrace sink notifications",
        "web": "sendtrace web",
    }


def given_to(each: Workload) -> dict[str, str]:
    """The environment of its container, with the secrets filled in."""
    given = dict(image_environment())
    for source in each.container["envFrom"]:
        if "configMapRef" in source:
            given |= CONFIGS[source["configMapRef"]["name"]]
        else:
            given |= {name: FILLED_IN[name] for name in SECRETS[source["secretRef"]["name"]]}
    return given


@each_of_all
def test_its_settings_are_there_and_load(each: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_to(each)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = load(None, providers=discover(), takes_postbacks=each.name == "gateway")

    assert unknown_variables(given) == []
    assert bool(settings.sources) is (each.name == "gateway")
    assert (settings.tables.postgres is not None) is (each.name in {"sink", "incidents", "notifications", "web"})
    assert (settings.personal.key is not None) is (each.name in {"worker", "sink", "incidents", "web"})
    assert bool(settings.notifications.targets) is (each.name == "notifications")


@pytest.mark.parametrize("name", [name for name in FILLED_IN if not re.search("POSTGRES|TARGETS|PERSONAL", name)])
def test_no_gateway_starts_with_the_example_of_secrets_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (gateway,) = [each for each in ROLES if each.name == "gateway"]
    for key, value in (given_to(gateway) | {name: ""}).items():
        monkeypatch.setenv(key, value)

    with pytest.raises(SettingsError):
        load(None, providers=discover())


def test_no_secret_is_written_down() -> None:
    assert {value for secret in SECRETS.values() for value in secret.values()} == {""}
    assert [name for config in CONFIGS.values() for name in config if SECRET.search(name)] == []
    assert [each.name for each in ALL if "env" in each.container] == []


@each_of_all
def test_it_is_told_nothing_by_the_cluster(each: Workload) -> None:
    assert each.pod["enableServiceLinks"] is False
    assert each.pod["automountServiceAccountToken"] is False


@each_of_all
def test_it_runs_as_the_user_of_the_image_and_can_do_nothing_else(each: Workload) -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", RUNTIME, re.MULTILINE)
    pod, container = each.pod["securityContext"], each.container["securityContext"]

    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["fsGroup"]) == (True, int(user), int(user))
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(each.container["resources"]["limits"]) == {"memory"}


@each_role
def test_probes_ask_what_needs_no_token(each: Workload) -> None:
    ports = {port["name"]: port["containerPort"] for port in each.container["ports"]}
    probes = {kind: each.container[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness")}

    assert probes == {
        "liveness": {"path": "/livez", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }
    assert {probe["path"] for probe in probes.values()} <= OPEN_PATHS
    assert str(ports["admin"]) == image_environment()["SENDTRACE_ADMIN__PORT"]
    assert CONFIG["SENDTRACE_ADMIN__HOST"] == "0.0.0.0"  # noqa: S104 (of the pod, whose probes come from the node)


@each_of_all
def test_what_it_keeps_is_on_a_volume_at_the_data_directory(each: Workload) -> None:
    volumes = [*each.pod.get("volumes", []), *(each.spec.get("volumeClaimTemplates", []))]
    (mounted,) = each.container["volumeMounts"]

    assert mounted["mountPath"] == image_environment()["SENDTRACE_STORAGE__DIRECTORY"]
    assert [volume.get("name") or volume["metadata"]["name"] for volume in volumes] == [mounted["name"]]
    assert (each.kind == "StatefulSet") is (each.name in {"gateway", "worker"})


def test_the_spool_fits_its_volume() -> None:
    (gateway,) = [each for each in ROLES if each.name == "gateway"]
    (claim,) = gateway.spec["volumeClaimTemplates"]
    size = claim["spec"]["resources"]["requests"]["storage"]

    assert int(size.removesuffix("Gi")) * 1024**3 >= 2 * int(CONFIG["SENDTRACE_KAFKA__SPOOL_BYTES"])


@each_role
def test_it_is_given_the_time_it_takes_to_stop(each: Workload) -> None:
    paused = each.container.get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
    (sleep, pause_s) = paused["exec"]["command"]

    assert sleep == "sleep"
    assert each.pod["terminationGracePeriodSeconds"] >= LONGEST_STOP_S + int(pause_s)


@pytest.mark.parametrize("name", ["sink", "incidents"])
def test_the_tables_have_one_writer(name: str) -> None:
    (sink,) = [each for each in ROLES if each.name == name]

    assert (sink.spec["replicas"], sink.spec["strategy"]) == (1, {"type": "Recreate"})


def test_nobody_is_told_before_there_is_a_target() -> None:
    (found,) = [each for each in ROLES if each.name == "notifications"]

    assert (found.spec["replicas"], found.spec["strategy"]) == (0, {"type": "Recreate"})


@each_role
def test_a_selector_finds_its_pods(each: Workload) -> None:
    assert each.spec["selector"]["matchLabels"] == each.spec["template"]["metadata"]["labels"]


def test_a_service_leads_to_a_port_of_the_pods_it_selects() -> None:
    for service in of_kind("Service"):
        (target,) = [each for each in ROLES if each.spec["selector"]["matchLabels"] == service["spec"]["selector"]]
        ports = {port["name"]: port["containerPort"] for port in target.container["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
        assert "type" not in service["spec"], "of the cluster alone"


def test_a_stateful_set_has_the_service_that_names_its_pods() -> None:
    headless = {each["metadata"]["name"] for each in of_kind("Service") if each["spec"].get("clusterIP") == "None"}

    assert {each.spec["serviceName"] for each in ROLES if each.kind == "StatefulSet"} == headless


def test_who_has_several_replicas_keeps_some_through_a_drain() -> None:
    budgets = [each["spec"] for each in of_kind("PodDisruptionBudget")]

    assert {each["maxUnavailable"] for each in budgets} == {1}
    assert [each["selector"]["matchLabels"] for each in budgets] == [
        each.spec["selector"]["matchLabels"] for each in ROLES if each.spec["replicas"] > 1
    ]


def test_all_run_the_image_of_this_version() -> None:
    assert {each.container["image"] for each in ALL} == {"sendtrace"}
    assert KUSTOMIZATION["images"] == [{"name": "sendtrace", "newName": "sendtrace", "newTag": VERSION}]


def test_no_variable_of_this_machine_is_seen() -> None:
    assert [name for name in os.environ if name.startswith("SENDTRACE_")] == []
