"""A storm of bounces is one incident and a few messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.storm import run

BOUNCES = 30_000


@pytest.mark.timeout(240)
async def test_a_storm_is_one_incident(tmp_path: Path) -> None:
    report = await run(BOUNCES, tmp_path, say=lambda _: None)

    assert report.bounces >= BOUNCES
