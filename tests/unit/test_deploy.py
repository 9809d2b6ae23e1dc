"""The image and the compose file, without Docker: what they say about the program, the program is asked about."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.exceptions import TyperException
from typer.main import get_command

from ingest.limits import Limits
from processors.providers import discover
from sendtrace.cli import app
from sendtrace.settings import Settings, load
from sendtrace.settings_model import BROKERS_VARIABLE, leaf_keys
from sendtrace.worker_child import _STOP_WAIT_S
from tests.unit.plain_yaml import YamlError, documents
from tests.unit.project_tree import PACKAGES, ROOT

DEPLOY = ROOT / "deploy"
SETTINGS = "/etc/sendtrace/sendtrace.toml"
ONE_SHOTS = {"init", "topics"}
LOOPBACK = "127.0.0.1:"
SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|POSTGRES$")

(COMPOSE,) = documents(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("sendtrace")}
ROLES = {name: each for name, each in OURS.items() if name not in ONE_SHOTS}
DOCKERFILE = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
RUNTIME = DOCKERFILE.rpartition("FROM ")[2]


def parsed(words: Sequence[str]) -> str:
    """Which command the program takes `words` for. Raises `TyperException` as the program would end with it."""
    context: Any = get_command(app).make_context("sendtrace", [*words])
    while hasattr(context.command, "commands"):
        words = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, words)
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


def unknown_variables(names: Iterable[str]) -> list[str]:
    """What begins as a setting and is none."""
    known = {"__".join(("SENDTRACE", keys[0])) if len(keys) == 1 else "__".join(keys).upper() for keys in leaf_keys()}
    known = {f"SENDTRACE_{name}" for name in known} | {BROKERS_VARIABLE}
    generic = {
        re.sub(r"(SENDTRACE_(?:SOURCES|NOTIFICATIONS__TARGETS)__)[A-Z0-9]+(?=__)", r"\1NAME", name): name
        for name in names
    }
    return [
        name for generic_name, name in generic.items() if name.startswith("SENDTRACE_") and generic_name not in known
    ]


def words_of(instruction: str) -> list[str]:
    """The exec form of the one such instruction of the runtime stage."""
    (found,) = re.findall(rf"^{instruction}.*?(\[.*\])$", RUNTIME, re.MULTILINE)
    return [str(word) for word in json.loads(found)]


def image_environment() -> dict[str, str]:
    """What ENV gives every role."""
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", "".join(re.findall(r"^ENV (.*)$", RUNTIME, re.MULTILINE))))


def seconds(text: str) -> int:
    """Of `30s`."""
    return int(text.removesuffix("s"))


@pytest.fixture(autouse=True)
def only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SENDTRACE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def made_by_init(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of settings as the service `init` leaves it, and what it printed."""
    directory = tmp_path_factory.mktemp("settings")
    script = SERVICES["init"]["command"][0].replace("$$", "$").replace("/etc/sendtrace", str(directory))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*SERVICES["init"]["entrypoint"], script], env={"PATH": path}, check=True, capture_output=True, text=True
    )
    return directory, done.stdout


def settings_in(directory: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {**image_environment(), **environment}.items():
        monkeypatch.setenv(name, value)
    return load(directory / "sendtrace.toml", providers=discover())


# --- The image ---------------------------------------------------------------------------------------------


def test_the_image_is_the_program_and_nothing_between() -> None:
    assert words_of("ENTRYPOINT") == ["sendtrace"]
    assert re.findall(r"^STOPSIGNAL (\w+)", RUNTIME, re.MULTILINE) == ["SIGTERM"]


def test_the_image_runs_as_a_user_by_number_that_is_not_root() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", RUNTIME, re.MULTILINE)

    assert min(map(int, user)) >= 10_000
    assert RUNTIME.index("\nUSER") > RUNTIME.rindex("\nRUN")


def test_both_stages_have_the_same_base() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.findall(r"^ARG (.*)", DOCKERFILE, re.MULTILINE) == ["BASE=python:3.11-slim-bookworm"]


def test_every_package_of_the_image_is_held_to_its_hash() -> None:
    fetching = [line for line in re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE) if "pip" in line]

    assert ["--require-hashes" in fetching[1], "--no-index" in fetching[1]] == [True, False]
    assert all("--no-index" in part for part in fetching[2].split("&&"))


def test_the_image_gets_our_packages_and_no_data() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert {line for line in lines[1:] if line.startswith("!")} == {
        f"!{name}" for name in (*PACKAGES, "LICENSE", "pyproject.toml", "requirements.lock")
    }


def test_the_image_sets_settings_there_are() -> None:
    environment = image_environment()

    assert unknown_variables(environment) == []
    assert f"VOLUME {environment['SENDTRACE_STORAGE__DIRECTORY']}\n" in RUNTIME
    assert f"WORKDIR {environment['SENDTRACE_STORAGE__DIRECTORY']}\n" in RUNTIME
    assert f"EXPOSE {environment['SENDTRACE_GATEWAY__PORT']} {environment['SENDTRACE_ADMIN__PORT']}\n" in RUNTIME
    assert "SENDTRACE_ADMIN__HOST" not in environment


class Ready(BaseHTTPRequestHandler):
    """A role that is ready, or is not."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name for it)
        """Say nothing."""


@contextmanager
def admin_port(status: int) -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Role", (Ready,), {"status": status})) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_asks_whether_it_is_ready(status: int, healthy: bool) -> None:  # noqa: FBT001 (a case's fact)
    command = words_of("HEALTHCHECK")

    with admin_port(status) as port:
        done = subprocess.run(
            [sys.executable, *command[1:]], env={"SENDTRACE_ADMIN__PORT": str(port)}, check=False, capture_output=True
        )

    assert command[0] == "python"
    assert (done.returncode == 0) is healthy


# --- Compose -----------------------------------------------------------------------------------------------


def test_compose_runs_every_role_on_kafka() -> None:
    commands = [parsed(each["command"]) for name, each in OURS.items() if name != "init"]

    assert sorted(commands) == [
        f"sendtrace {role}"
        for role in (
            "gateway",
            "sink incidents",
            "sink notifications",
            "sink tables",
            "topics create",
            "web",
            "worker",
            "worker",
        )
    ]


@pytest.mark.parametrize("words", [["nosuch"], ["sink", "nosuch"], ["worker", "--jobs", "2"], ["web", "--port", "1"]])
def test_a_command_that_the_program_refuses_is_noticed(words: list[str]) -> None:
    with pytest.raises(TyperException):
        parsed(words)


def test_init_makes_settings_that_every_role_takes(
    made_by_init: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, _ = made_by_init
    password = (directory / "postgres-password").read_text()

    for each in OURS.values():
        settings = settings_in(directory, each["environment"], monkeypatch)
        assert settings.kafka.bootstrap_servers == ("kafka:9092",)
        assert settings.tables.postgres is not None
        assert (
            settings.tables.postgres.get_secret_value() == f"postgresql://sendtrace:{password}@postgres:5432/sendtrace"
        )
        assert len(settings.sources) == 2


def test_init_shows_each_secret_once_and_the_token_that_holds(
    made_by_init: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, printed = made_by_init
    token = settings_in(directory, {}, monkeypatch).admin.token

    assert token is not None
    assert [line.split()[0] for line in printed.splitlines()[:-1]] == ["braze", "nrs360", "admin"]
    assert printed.splitlines()[2] == f"admin  {token.get_secret_value()}"
    assert len(token.get_secret_value()) >= 40


def test_only_the_password_can_be_read_by_another_user(made_by_init: tuple[Path, str]) -> None:
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in made_by_init[0].iterdir()}

    assert modes == {"sendtrace.toml": "0o600", "postgres-password": "0o644"}
    assert SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == "/etc/sendtrace/postgres-password"


def test_compose_sets_settings_there_are_and_no_secret() -> None:
    for each in SERVICES.values():
        environment = each["environment"]
        assert unknown_variables(environment) == []
        assert [name for name in environment if SECRET.search(name) and not name.endswith("_FILE")] == []


@pytest.mark.parametrize("name", ["SENDTRACE_KAFKAS", "SENDTRACE_ADMIN_TOKEN", "SENDTRACE_SOURCES__BRAZE__TOKEN"])
def test_a_variable_that_nothing_reads_is_noticed(name: str) -> None:
    assert unknown_variables({name: "x"}) == [name]


def test_nothing_listens_beyond_this_machine() -> None:
    ports = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}

    assert set(ports) == {"gateway", "web", "kafka"}
    assert [port for each in ports.values() for port in each if not str(port).startswith(LOOPBACK)] == []
    assert not [name for name, each in SERVICES.items() if each.get("network_mode", "none") != "none"]


def test_a_port_leads_to_what_listens_there() -> None:
    inside = {name: each["ports"][0].rpartition(":")[2] for name, each in SERVICES.items() if "ports" in each}
    environment = image_environment()

    assert inside["gateway"] == environment["SENDTRACE_GATEWAY__PORT"]
    assert inside["web"] == environment["SENDTRACE_ADMIN__PORT"]
    assert f"OUTSIDE://{LOOPBACK}{inside['kafka']}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]


def test_what_is_waited_for_can_happen() -> None:
    for each in SERVICES.values():
        for name, wanted in each.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "test" in SERVICES[name].get("healthcheck", {}) or name in ROLES
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert name in ONE_SHOTS


def test_only_what_ends_is_without_a_health_check() -> None:
    assert {name for name, each in SERVICES.items() if each.get("healthcheck", {}).get("disable")} == ONE_SHOTS


def test_who_keeps_something_has_a_volume_of_its_own() -> None:
    named = [volume.split(":") for each in SERVICES.values() for volume in each["volumes"]]
    kept = [parts[0] for parts in named if parts[0] != "settings"]

    assert sorted(kept) == sorted(set(COMPOSE["volumes"]) - {"settings"})
    for name in ("gateway", "worker-1", "worker-2"):
        assert f"{name}:{image_environment()['SENDTRACE_STORAGE__DIRECTORY']}" in SERVICES[name]["volumes"]


def test_only_init_can_write_the_settings() -> None:
    writers = {name for name, each in SERVICES.items() if "settings:/etc/sendtrace" in each["volumes"]}

    assert writers == {"init"}
    assert all(each["command"][-2:] == ["--config", SETTINGS] for name, each in OURS.items() if name != "init")


def test_a_role_is_given_the_time_it_takes_to_stop() -> None:
    longest_s = max(_STOP_WAIT_S, Limits().drain_deadline_s) + 5

    assert {name for name, each in ROLES.items() if seconds(each["stop_grace_period"]) < longest_s} == set()
    assert {name for name, each in ROLES.items() if each["restart"] != "unless-stopped"} == set()


def test_ours_can_do_no_more_than_they_need() -> None:
    for each in OURS.values():
        assert (each["read_only"], each["cap_drop"]) == (True, ["ALL"])
        assert each["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in each
    assert all({"mem_limit", "cpus"} <= set(each) for each in SERVICES.values())


def test_all_of_ours_are_one_image_of_this_version_built_here() -> None:
    assert {(each["image"], each["pull_policy"]) for each in OURS.values()} == {(f"sendtrace:{VERSION}", "never")}
    assert {json.dumps(each["build"]) for each in OURS.values() if "build" in each} == {
        json.dumps(
            {
                "context": "..",
                "dockerfile": "deploy/Dockerfile",
                "args": {"BASE": "${SENDTRACE_BASE_IMAGE:-python:3.11-slim-bookworm}"},
            }
        )
    }


# --- The reader of these files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a: yes\n",
        "a: 010\n",
        "a: 1\na: 2\n",
        "a: b: c\n",
        "a:\n\t- b\n",
        "a: 'b'\n",
        "a:\n  b: 1\n c: 2\n",
        "a: 1:30\n",
    ],
)
def test_yaml_that_is_wrong_or_read_differently_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)

    with pytest.raises(YamlError):
        documents(path)
