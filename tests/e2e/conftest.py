"""A running `sendtrace up` for tests that are its users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sendtrace.init_config import write_initial
from tests.e2e.up_rig import Up


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """Each source's postback path."""
    found = write_initial(tmp_path / "sendtrace.toml")
    return {source: url.removeprefix("http://127.0.0.1:8080") for source, url in found}


@pytest.fixture
def running(tmp_path: Path, paths: dict[str, str]) -> Iterator[Up]:
    assert paths
    up = Up(tmp_path, "--port", "0", "--admin-port", "0")
    yield up
    if up.process.poll() is None:
        assert up.stop() == 0
