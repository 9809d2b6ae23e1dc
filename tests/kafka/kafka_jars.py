"""The jars of deploy/kafka/pom.xml, fetched once by Maven, and the Java that runs them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy" / "kafka"
#: Ignored by git. The jars of every version of the pom that was asked for, and the data of `make kafka`.
HOME: Final = ROOT / ".kafka"

_POM: Final = DEPLOY / "pom.xml"
_OLDEST_JAVA = 17  # what Kafka 4's brokers are compiled for
_FETCH_S = 600.0


class KafkaError(Exception):
    """A broker that cannot be had: one line that says what is missing and what to do."""


def java() -> str:
    """The Java of JAVA_HOME, or that of the PATH. Raises `KafkaError` when there is none, or an older one than 17."""
    home = os.environ.get("JAVA_HOME", "")
    found = f"{home}/bin/java" if home else "java"
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        where = f"at {found} (JAVA_HOME)" if home else "on the PATH"
        raise KafkaError(f"no java {where}; install a JDK or JRE of version {_OLDEST_JAVA} or newer") from None
    number = re.search(r'version "(?:1\.)?(\d+)', said)
    if number is None or int(number[1]) < _OLDEST_JAVA:
        version = number[1] if number else "an unknown version"
        raise KafkaError(f"java is {version}, Kafka needs {_OLDEST_JAVA} or newer; JAVA_HOME may name another")
    return found


def jars_folder(home: Path = HOME) -> Path:
    """Where the jars of this version of the pom are or will be."""
    return home / f"jars-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def jars(home: Path = HOME) -> Path:
    """The folder with the jars; they are fetched if they are not there. Raises `KafkaError`.

    The first time takes as long as 43 MB do; whoever comes in between waits for it.
    """
    folder = jars_folder(home)
    with alone(home / "jars.lock"):
        if not folder.is_dir():
            _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Into a folder beside first: what is interrupted must not look finished."""
    if not (mvn := shutil.which("mvn")):
        raise KafkaError("no mvn on the PATH to fetch Kafka's jars with; install Maven")
    beside = folder.with_suffix(".part")
    shutil.rmtree(beside, ignore_errors=True)
    command = [mvn, "-B", "-q", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={beside}"]
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=True)
    except subprocess.TimeoutExpired:
        raise KafkaError(f"Kafka's jars could not be fetched: mvn was not done after {_FETCH_S:.0f} s") from None
    except subprocess.CalledProcessError as failed:
        lines = [line for line in f"{failed.stdout}\n{failed.stderr}".splitlines() if "[ERROR]" in line]
        reason = lines[0].partition("[ERROR]")[2].strip() if lines else f"mvn ended with {failed.returncode}"
        raise KafkaError(f"Kafka's jars could not be fetched: {reason}") from None
    beside.rename(folder)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Only one process at a time is in such a block with this file; another waits. Makes its folder."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
