"""Peers that do not come with us, each in a directory of its own, installed or built when first asked for.

None of them belongs to this project: not into its environment, not into `requirements.lock`. They come from wherever
pip, or Go, is told to look on this machine. They lie in the environment's directory and are gone with it.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.bench.processes import BenchError

QUIXSTREAMS: Final = "quixstreams==3.28.1"
_INSTALL_S: Final = 600.0


def peers_directory() -> Path:
    """What is in it is made when it is missing."""
    return Path(sys.prefix) / "bench-peers"


def python_with(requirement: str) -> str:
    """The Python that has `requirement`, and what it lacks of the project's packages. Raises `BenchError`."""
    directory = peers_directory() / requirement
    python = directory / "bin" / "python"
    ready = directory / "ready"
    if not ready.exists():
        run_or_fail(sys.executable, "-m", "venv", "--clear", str(directory))
        run_or_fail(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
        # Later on the path than its own: where both have a package, the peer gets the version it asked for.
        (_packages(directory) / "project.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        ready.touch()
    return str(python)


def _packages(directory: Path) -> Path:
    base = {"base": str(directory), "platbase": str(directory)}
    return Path(sysconfig.get_path("purelib", scheme="venv", vars=base))


def run_or_fail(*command: str) -> None:
    """Raises `BenchError` with the end of what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    if done.returncode:
        raise BenchError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
