"""The README's commands, run in its order in an empty directory. What runs on is stopped after a while."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.program import PATIENCE_S, ROOT, Program, environment, running
from tests.postgres.incident_rows_rig import incident, put_in_sqlite

README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINES = [(kind, line.split("  #")[0].strip()) for kind, block in _BLOCK.findall(README) for line in block.splitlines()]
COMMANDS = [line for kind, line in _LINES if kind == "sh" and line]
#: In blocks of no kind: they need a broker, and tests/integration/test_topics.py runs them on one.
WITH_A_BROKER = [line for kind, line in _LINES if kind == "" and line.startswith("sendtrace ")]
ENDLESS = {"tail": 130, "sandbox": 0}
INCIDENT = incident("ab12")
_BODY_NOBODY_READS = "{“status”: “sent”"


class Reader:
    """Somebody who follows the README, and has a second provider whose bodies nobody understands."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.up: Program | None = None
        self.words = {"SOURCE": "braze"}
        self._stack = stack
        self._env = environment(SENDTRACE_GATEWAY__PORT="0", SENDTRACE_ADMIN__PORT="0")

    def run(self, command: str) -> tuple[int, list[str]]:
        """One line of the README, with the words in capitals replaced by what was learnt before."""
        program, *arguments = (self.words.get(word, word) for word in shlex.split(command))
        if program == "curl":
            return self._curl(arguments)
        if arguments[0] == "up":
            return self._start()
        with running(*arguments, cwd=self.directory, env=self._env) as ran:
            if arguments[0] in ENDLESS:
                ran.wait_for("answered 200" if arguments[0] == "sandbox" else " → bounced")
                return ran.interrupt(), ran.lines
            return ran.end(), ran.lines + ran.errors

    def _start(self) -> tuple[int, list[str]]:
        self.up = self._stack.enter_context(running("up", cwd=self.directory, env=self._env))
        gateway = self.up.wait_for("ready").split()[1]
        self.words["URL"] = re.sub(r"http://[^/]+", gateway, self.words["URL"])
        deadline = time.monotonic() + PATIENCE_S  # the processor makes the tables while the gateway answers already
        while not (self.directory / "sendtrace-data" / "tables.db").is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        return 0, self.up.lines

    def _curl(self, arguments: list[str]) -> tuple[int, list[str]]:
        if shutil.which("curl") is None:
            pytest.skip("the README's curl needs curl")
        done = subprocess.run(["curl", "-sS", "--fail", *arguments], check=False, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ExitStack() as stack:
        yield Reader(tmp_path, stack)


@pytest.mark.timeout(180)  # some twenty programs, one after the other, on a slow machine
def test_every_command_does_what_the_readme_says(reader: Reader) -> None:
    for command in COMMANDS:
        if "tail" in command:
            command += " --from-start"  # noqa: PLW2901  so that there is something to be seen
        if command.startswith("sendtrace dead show"):
            reader.run(f"curl -d '{_BODY_NOBODY_READS}' URL")
            reader.words["DEAD_ID"] = dead_id(reader)
        if command == "sendtrace incidents":
            put_in_sqlite(reader.directory / "sendtrace-data" / "tables.db", INCIDENT)
            reader.words["INCIDENT"] = INCIDENT["incident_id"][:8]
        code, lines = reader.run(command)
        if command == "sendtrace init":
            reader.words["URL"] = lines[0].split()[1]
        reader.words["ID"] = "d1"

        assert code == promised(command), (command, lines)

    assert reader.up is not None
    assert reader.up.interrupt() == 0


def promised(command: str) -> int:
    """The exit code a command of the README should end with; a retry without a fix is refused again."""
    if command.startswith("sendtrace dead retry"):
        return 1
    if command.startswith("sendtrace alerts test"):
        return 2  # `sendtrace init` makes no target
    return ENDLESS.get(command.split()[1], 0)


def dead_id(reader: Reader) -> str:
    """The first dead letter, as soon as there is one."""
    for _ in range(50):
        _, lines = reader.run("sendtrace dead list")
        if not lines[0].startswith("nothing"):
            return lines[0].split()[0]
    pytest.fail("the body that nobody understands is no dead letter")


def test_every_command_of_the_program_is_in_the_readme() -> None:
    from tests.unit.test_cli_errors import COMMANDS as ALL  # noqa: PLC0415  only this test needs the whole program

    commands = COMMANDS + WITH_A_BROKER
    shown = {name for name in ALL for command in commands if f"{command} ".startswith(f"sendtrace {name} ")}

    assert set(ALL) - shown == {"token new"}  # named beside `token rotate`


def test_only_what_needs_a_broker_is_shown_without_being_run_here() -> None:
    roles = ["gateway", "worker", "sink tables", "sink incidents", "sink parquet --to DIR", "sink notifications", "web"]
    assert [f"sendtrace {words}" for words in (*roles, "topics create", "topics show")] == WITH_A_BROKER


@pytest.mark.parametrize(("target", "what"), [("demo", "sendtrace demo"), ("test", "-m pytest")])
def test_the_two_make_targets_lead_there(target: str, what: str) -> None:
    planned = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True)

    assert what in planned.stdout
